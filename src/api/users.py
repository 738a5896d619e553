"""`python -m api.users hash NAME`: asks for a password and prints the line of a user of the API."""

from __future__ import annotations

from web.users import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
