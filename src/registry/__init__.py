"""Models in MLflow: made once, compared, promoted, and found again by who serves them. Of any project.

A library, no component: it runs nothing, and reads no setting. `champion` and `watch` are for those who serve a model,
and need urllib3; the rest is for those who train one, and needs mlflow-skinny and psycopg.
"""
