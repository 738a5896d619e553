"""The names under which the model is known to MLflow, and its categories to people."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["ALIAS", "CATEGORIES", "EXPERIMENT", "FOLDER", "MODEL"]

EXPERIMENT, MODEL, ALIAS = "catalog", "catalog-classifier", "champion"
# The folder of the classifier's files in what MLflow keeps of a model.
FOLDER = "classifier"

# The marketplace publishes codes alone: the names are ours, from what is listed under each.
CATEGORIES: Mapping[int, str] = MappingProxyType(
    {
        10: "Second-hand books",
        40: "Console games, imports",
        50: "Gaming accessories",
        60: "Game consoles",
        1140: "Figurines and fan items",
        1160: "Trading cards",
        1180: "Miniatures and war games",
        1280: "Toys",
        1281: "Board games and puzzles",
        1300: "Radio-controlled models and drones",
        1301: "Baby socks, table games",
        1302: "Outdoor play",
        1320: "Baby care",
        1560: "Furniture",
        1920: "Cushions and bed linen",
        1940: "Food and drinks",
        2060: "Decoration",
        2220: "Pet supplies",
        2280: "Magazines and newspapers",
        2403: "Book and comic lots",
        2462: "Second-hand games and lots",
        2522: "Stationery",
        2582: "Garden furniture",
        2583: "Pools",
        2585: "Garden and workshop tools",
        2705: "New books",
        2905: "Games for download",
    }
)
