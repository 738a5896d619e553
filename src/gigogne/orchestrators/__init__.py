"""Who decides when a service runs. An orchestrator receives its engine; it makes none."""
