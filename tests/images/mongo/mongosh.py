#!/opt/secantusdb/bin/python
"""Enough of mongosh for a healthcheck: `mongosh [--quiet] [URL] --eval "db.adminCommand('ping')"`, and nothing else."""

import re
import sys
from typing import Any

import pymongo
import pymongo.errors

PING = re.compile(
    r"""(db\.(adminCommand|runCommand)\(\s*(['"]ping['"]|\{\s*['"]?ping['"]?\s*:\s*1\s*\})\s*\))(\.ok)?;?"""
)


def main() -> None:
    """Ask the server, and print what mongosh prints."""
    words = [word for word in sys.argv[1:] if word not in {"--quiet", "--norc"}]
    asked = words.pop(words.index("--eval") + 1) if "--eval" in words[:-1] else ""
    address = next((word for word in words if not word.startswith("-")), "127.0.0.1:27017")
    ping = PING.fullmatch(asked.strip())
    if not ping:
        sys.exit("this stand-in for mongosh knows only --eval \"db.adminCommand('ping')\"")
    url = address if "://" in address else f"mongodb://{address}"
    try:
        client: pymongo.MongoClient[Any] = pymongo.MongoClient(url, serverSelectionTimeoutMS=2000)
        client.admin.command("ping")
    except pymongo.errors.PyMongoError as error:
        sys.exit(f"MongoNetworkError: {error}")
    print("1" if ping[3] else "{ ok: 1 }")


main()
