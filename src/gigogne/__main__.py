"""`python -m gigogne` is the command `gigogne`."""

from __future__ import annotations

from gigogne.cli.commands import main

if __name__ == "__main__":
    main()
