"""The fraud component: scored card transactions, into PostgreSQL, and the confirmed ones out to S3.

Three modules, each its own process and its own image: ``fraud.simulator``, ``fraud.logger_sql`` and
``fraud.extractor_sql``. They talk by a folder, by SQL and by S3, never by import.
"""
