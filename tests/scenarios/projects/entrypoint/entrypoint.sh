#!/bin/sh
set -e

echo "Waiting for postgres at $DB_HOST:$DB_PORT..."
# An open port is not enough: PostgreSQL listens before it lets anybody in.
until python -c "from database import connect; connect().close()" 2>/dev/null; do
  sleep 0.2
done
echo "PostgreSQL started"

python migrate.py

exec "$@"
