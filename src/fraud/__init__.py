"""The fraud component: card transactions, made, scored, logged, confirmed days later, extracted and learned from.

Each program is its own process, and most have an image of their own: ``simulator``, ``player``, ``scoring``,
``logger_sql``, ``confirm``, ``extractor_sql``, ``train_fraud``, ``drift_fraud``. They talk by a folder, by SQL, by S3,
by MLflow and over HTTP.
"""
