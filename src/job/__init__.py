"""What every program of ours has, job or server: settings from the environment, failures of one line, signals.

A library: it knows no component. `storage` needs botocore and `postgres` psycopg; nothing else needs more than Python.
"""
