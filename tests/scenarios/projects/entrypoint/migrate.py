from database import connect

with connect() as db:
    db.execute("CREATE TABLE IF NOT EXISTS products (sku text PRIMARY KEY, price numeric)")
print("migrated")
