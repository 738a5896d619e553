"""The command: words in, exit code out."""
