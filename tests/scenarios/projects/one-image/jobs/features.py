import os
import sqlite3

with sqlite3.connect(os.environ["WAREHOUSE"]) as db:
    db.execute("DROP TABLE IF EXISTS features")
    db.execute("CREATE TABLE features AS SELECT name, calls * 1.0 / (calls + orders) AS risk FROM customers")
