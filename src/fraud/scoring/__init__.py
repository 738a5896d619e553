"""The scorer: how likely a card transaction is a fraud, over HTTP, while it happens.

``server`` runs it, ``app`` puts it together. ``scorer`` judges, by the card's past: from ``history`` (PostgreSQL), and
from ``handover`` (its own rows that logger_sql has not taken yet). ``segments`` has each on the disk, in the landing
folder, before it is answered.
"""
