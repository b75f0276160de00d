#!/usr/bin/env bash
# serve_for.sh BINARY "SERVE ARGUMENTS" COMMAND...: runs COMMAND beside a worker on a free port of its own, which it finds in
# $URL (http://127.0.0.1:N), with the key in $TALLOW_API_KEY if that is set; exits as COMMAND does.
set -euo pipefail
binary=$1 arguments=$2
shift 2
folder=$(mktemp -d)
# shellcheck disable=SC2086  # the arguments are words
"$binary" $arguments --port 0 >"$folder/ready" 2>"$folder/log" &
worker=$!
trap 'kill "$worker" 2>/dev/null; wait "$worker" 2>/dev/null; rm -rf "$folder"' EXIT
while [ ! -s "$folder/ready" ]; do
	kill -0 "$worker" 2>/dev/null || { cat "$folder/log" >&2; exit 1; }
	sleep 0.1
done
port=$(sed -E 's/.*"port":([0-9]+).*/\1/' "$folder/ready")
URL=http://127.0.0.1:$port "$@"
kill -0 "$worker" 2>/dev/null || { echo "the worker has ended:" >&2; tail -3 "$folder/log" >&2; exit 1; }
