"""Gigogne runs the same, unchanged Compose files with no Docker, in Docker, nested, and as an Airflow DAG."""

__version__ = "0.1.0"
__all__ = ["__version__"]
