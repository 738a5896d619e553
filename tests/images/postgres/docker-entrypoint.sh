#!/usr/bin/env bash
# What the official image's entrypoint does for the variables that it documents: an empty PGDATA is initialised, by a
# server that listens on the socket alone, then the scripts of /docker-entrypoint-initdb.d run, then the server is
# process 1.
set -Eeuo pipefail
umask 077

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# NAME or NAME_FILE, never both; then the default.
value_of() {
    local name=$1 file="${1}_FILE"
    [ -z "${!name:-}" ] || [ -z "${!file:-}" ] || fail "both $name and $file are set (but are exclusive)"
    if [ -n "${!file:-}" ]; then
        value=$(<"${!file}")
    else
        value=${!name:-${2:-}}
    fi
    export "$name"="$value"
    unset "$file"
}

run_scripts() {
    local sql=(psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --no-password --dbname "$POSTGRES_DB")
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        case $script in
        *.sh)
            echo "$0: running $script"
            if [ -x "$script" ]; then "$script"; else . "$script"; fi
            ;;
        *.sql)
            echo "$0: running $script"
            "${sql[@]}" -f "$script"
            ;;
        *.sql.gz)
            echo "$0: running $script"
            gunzip -c "$script" | "${sql[@]}"
            ;;
        */\*) ;;
        *) echo "$0: ignoring $script" ;;
        esac
    done
}

initialise() {
    value_of POSTGRES_PASSWORD
    value_of POSTGRES_USER postgres
    value_of POSTGRES_DB "$POSTGRES_USER"
    value_of POSTGRES_INITDB_ARGS
    local method=${POSTGRES_HOST_AUTH_METHOD:-} wal=()
    if [ -z "$POSTGRES_PASSWORD" ] && [ "$method" != trust ]; then
        fail "database is uninitialized and superuser password is not specified: set POSTGRES_PASSWORD to a" \
            "non-empty value"
    fi
    [ -z "${POSTGRES_INITDB_WALDIR:-}" ] || wal=(--waldir "$POSTGRES_INITDB_WALDIR")
    # The words of POSTGRES_INITDB_ARGS may be quoted, so the shell reads them again, as the official image does.
    eval 'initdb --username="$POSTGRES_USER" --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD") "${wal[@]}" '"$POSTGRES_INITDB_ARGS"
    if [ -z "$method" ]; then
        method=$(postgres -C password_encryption)
    fi
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"

    set -- "$@" -c listen_addresses= -p "${PGPORT:-5432}"
    pg_ctl -D "$PGDATA" -o "$(printf '%q ' "$@")" -w start
    if [ "$POSTGRES_DB" != postgres ]; then
        psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --dbname postgres --set db="$POSTGRES_DB" \
            <<<'CREATE DATABASE :"db";'
    fi
    run_scripts
    pg_ctl -D "$PGDATA" -m fast -w stop
    printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

[ "${1:0:1}" != - ] || set -- postgres "$@"

if [ "$1" = postgres ]; then
    mkdir -p "$PGDATA" && chmod 700 "$PGDATA" 2>/dev/null || true
    if [ "$(id -u)" = 0 ]; then
        [ -z "${POSTGRES_INITDB_WALDIR:-}" ] || { mkdir -p "$POSTGRES_INITDB_WALDIR" && chown -R postgres "$POSTGRES_INITDB_WALDIR"; }
        find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
        find /var/run/postgresql \! -user postgres -exec chown postgres '{}' +
        exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
    fi
    if [ ! -s "$PGDATA/PG_VERSION" ]; then
        # A command on the socket alone needs no password: the first line of pg_hba.conf is initdb's "local all all trust".
        initialise "${@:2}"
    fi
fi
exec "$@"
