#!/bin/sh
# Starts a worker on a free port, runs the load generator against it, and stops it.
#   http.sh TALLOW MODEL LOAD "worker options" "load options"
set -eu
ready=$(mktemp)
"$1" --worker-id bench --model "$2" --port 0 $4 >"$ready" 2>/dev/null &
pid=$!
trap 'kill "$pid" 2>/dev/null; rm -f "$ready"' EXIT
while ! grep -q ready "$ready"; do
	kill -0 "$pid" || { echo "the worker did not start" >&2; exit 1; }
	sleep 0.1
done
port=$(sed 's/.*"port":\([0-9]*\).*/\1/' "$ready")
status=0
"$3" --url "http://127.0.0.1:$port" $5 || status=$?
curl -s --noproxy '*' "http://127.0.0.1:$port/metrics" | sed -n 's/^worker_memory_bytes{kind="\(planned\|resident\|peak\)"}/  memory, \1:/p'
exit "$status"
