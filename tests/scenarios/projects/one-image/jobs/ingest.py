import os
import sqlite3

CUSTOMERS = [("ann", 1, 3), ("bob", 9, 1), ("cid", 4, 4), ("dan", 7, 0)]

with sqlite3.connect(os.environ["WAREHOUSE"]) as db:
    db.execute("DROP TABLE IF EXISTS customers")
    db.execute("CREATE TABLE customers (name TEXT, calls INTEGER, orders INTEGER)")
    db.executemany("INSERT INTO customers VALUES (?, ?, ?)", CUSTOMERS)
print(os.environ["GREETING"], len(CUSTOMERS), "customers", repr(os.environ["EMPTY"]))
