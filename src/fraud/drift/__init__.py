"""Whether the transactions of late are those that the champion was made for: the parts of `fraud.drift_fraud`."""
