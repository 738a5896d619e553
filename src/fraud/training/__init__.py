"""What `fraud.train_fraud` is made of: the extract, the split, the fit, its evaluation, and what MLflow is told."""
