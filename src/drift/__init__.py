"""A look for drift, of any project: what it came to, where that is written and read, and its page.

A library: it compares nothing, and knows no model. docker/monitoring/monitor/README.md says what the documents hold.
"""
