"""Pure data and decisions: no input, no output."""
