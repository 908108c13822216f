#!/bin/sh
# Prefect takes its secrets from variables only: each file /run/secrets/PREFECT_… becomes the variable of its name.
set -eu
for file in /run/secrets/PREFECT_*; do
    if [ -f "$file" ]; then
        export "${file##*/}=$(cat "$file")"
    fi
done
exec "$@"
