#!/usr/bin/env bash
# As the official entrypoint: `bash`, `python` and `airflow` are themselves, any other word is a command of airflow.
# _AIRFLOW_DB_MIGRATE=true migrates the database first.
set -euo pipefail
umask 0002
[ "${_AIRFLOW_DB_MIGRATE:-}" != true ] || airflow db migrate
case ${1:-} in
bash | python | airflow) exec "$@" ;;
*) exec airflow "$@" ;;
esac
