#!/bin/sh
set -e

echo "Waiting for postgres at $DB_HOST:$DB_PORT..."
until python -c "import socket, os; socket.create_connection((os.environ['DB_HOST'], int(os.environ['DB_PORT'])), 2)" 2>/dev/null; do
  sleep 0.2
done
echo "PostgreSQL started"

python migrate.py

exec "$@"
