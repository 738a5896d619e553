#!/bin/sh
# Builds the host image, as `gigogne nest` does.
#   build_host.sh [outside|inside]
set -eu
cd "$(dirname "$0")/../.."

daemon=${1:-outside}
image=python-dind:3.12-slim
if [ "$daemon" = inside ]; then
    image=$image-inside
fi

docker build --file docker/host/Dockerfile --target "$daemon" --tag "$image" .
