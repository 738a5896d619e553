#!/bin/sh
# Runs a command, or a shell, in the host container; this directory is the project. `gigogne nest` in plain sight.
#   run_host.sh [-e NAME]... [-i] [COMMAND...]
#     -e NAME   pass this variable of the shell: by its name, so that no value stands on a command line
#     -i        with an engine of its own inside (privileged), not with this machine's
set -eu

image=python-dind:3.12-slim
names=COMPOSE_PROJECT_NAME
inside=no
while getopts e:i option; do
    case $option in
    e) names="$names $OPTARG" ;;
    i) inside=yes ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))

# Files are to be the caller's own. Docker Desktop sees to that itself.
user=0:0
if [ "$(uname)" = Linux ]; then
    user=$(id -u):$(id -g)
fi

# From here on the words of `docker run` come before the command, the last ones first.
if [ "$inside" = yes ]; then
    set -- "$image-inside" "$@"
    set -- --privileged --volume "$(basename "$PWD")_nest-docker:/var/lib/docker" --env "NEST_USER=$user" "$@"
else
    socket=${DOCKER_HOST:-unix:///var/run/docker.sock}
    socket=${socket#unix://}
    set -- "$image" "$@"
    set -- --network host --user "$user" --volume "$socket:/var/run/docker.sock" "$@"
    if [ "$(uname)" = Linux ]; then
        set -- --group-add "$(stat -c %g "$socket")" "$@"
    fi
fi
for name in $names; do
    set -- --env "$name" "$@"
done
if [ -t 0 ]; then
    set -- --tty "$@"
fi

exec docker run --rm --interactive --volume "$PWD:/home/hosted" "$@"
