"""Where services run: one folder per engine."""
