"""Eyes on the catalogue: `monitoring.drift` compares what the API is asked with what its model learned from,
`monitoring.server` shows it to Prometheus and asks Airflow for a retraining when Alertmanager says so.

They take their settings from the environment and share no code with other components but `catalog`: what is between
them is MongoDB, Parquet and JSON on S3, MLflow, PostgreSQL and HTTP.
"""
