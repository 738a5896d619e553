from database import connect

PRODUCTS = [("a-1", 9.99), ("b-2", 24.5)]

with connect() as db:
    with db.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO products VALUES (%s, %s) ON CONFLICT (sku) DO UPDATE SET price = excluded.price", PRODUCTS
        )
    count, total = db.execute("SELECT count(*), sum(price) FROM products").fetchone()
print(f"{count} products worth {total}")
