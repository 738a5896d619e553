"""Cleaning: validated products out of MongoDB, cleaned texts as Parquet on S3."""
