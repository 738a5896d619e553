#!/bin/sh
# As in the official image: root gives /data to the user seaweed and goes on as that user, and some commands get flags.
set -e
if [ "$(id -u)" = 0 ]; then
    [ "$(stat -c %u /data)" = 1000 ] || chown -R seaweed:seaweed /data
    exec su seaweed -s /bin/sh -c 'exec /entrypoint.sh "$@"' -- "$0" "$@"
fi
command=${1:-help}
[ $# -eq 0 ] || shift
case $command in
master) set -- -mdir=/data -volumePreallocate -volumeSizeLimitMB=1024 "$@" ;;
volume) set -- -dir=/data -max=0 "$@" ;;
server) set -- -dir=/data -volume.max=0 -master.volumePreallocate -master.volumeSizeLimitMB=1024 "$@" ;;
esac
exec /usr/bin/weed "$command" "$@"
