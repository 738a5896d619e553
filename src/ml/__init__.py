"""The catalogue's model: trains a classifier of the cleaned listings, evaluates, registers and promotes it.

Its programs are `python -m ml.train` (once) and `python -m ml.worker` (from a queue). They take their settings from
the environment and share no code with other components but the libraries `catalog`, which is what has to be the same
in all of them, and `registry`: what is between them is Parquet on S3 and MLflow.
"""
