#!/bin/sh
# Writes the secrets that compose.yaml and kustomization.yaml ask for into secrets/ beside this file; what is there stays.
set -eu
folder="$(dirname "$0")/secrets"
mkdir -p "$folder"
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
write() { [ -e "$folder/$1" ] || printf %s "$2" > "$folder/$1"; }
write PREFECT_SERVER_DATABASE_PASSWORD "$(random)"
# A key of Fernet: 32 bytes in URL-safe base64.
write PREFECT_SERVER_ENCRYPTION_KEY "$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')"
write PREFECT_API_AUTH_STRING "standby:$(random)"
write gateway-token "$(random)"
write vault-key "$(random)"
# The containers read them as another user: what protects them is the folder, which only its owner may enter.
chmod 644 "$folder"/*
chmod 700 "$folder"
