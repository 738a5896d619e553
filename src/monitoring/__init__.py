"""Eyes on the stack: `monitoring.drift` compares two samples of listings, `monitoring.server` shows what came out.

The first is a job that asks whether what the API is asked has moved away from what its model learned from; the second
stays up, tells Prometheus of drift and of the queue, and asks Airflow for a retraining when Alertmanager says so: for
the catalogue, and for the fraud project, whose own job gives the verdicts. They take their settings from the
environment and share no code with other components but the libraries `catalog` and `registry`: what is between them is
MongoDB, Parquet and JSON on S3, MLflow, PostgreSQL and HTTP.
"""
