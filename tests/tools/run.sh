#!/bin/sh
# `make run`: starts the worker, streams one completion, keeps serving until Ctrl-C.
#   run.sh BINARY MODEL PROMPT PORT
set -eu
binary=$1 model=$2 prompt=$3 port=$4
ready=$(mktemp)
worker=
finish() {
	trap - INT TERM EXIT
	[ -z "$worker" ] || kill "$worker" 2>/dev/null || true
	[ -z "$worker" ] || wait "$worker" 2>/dev/null || true
	rm -f "$ready"
	exit "${1:-0}"
}
trap 'finish 0' INT TERM
trap 'finish $?' EXIT

start() {
	"$binary" serve --worker-id run --model "$model" --port "$1" --log-level warn >"$ready" &
	worker=$!
	while ! grep -q '"event":"ready"' "$ready"; do
		kill -0 "$worker" 2>/dev/null || return 1
		sleep 0.05
	done
}
if ! start "$port"; then
	status=0
	wait "$worker" || status=$?
	worker=
	[ "$status" = 5 ] || exit "$status"
	echo "Port $port is taken; using a free one."
	start 0 || exit 1
fi
port=$(sed -n 's/.*"port":\([0-9]*\).*/\1/p' "$ready")

# The prompt as a JSON string: backslash, quote, tab and newline are what a shell argument may hold.
json=$(printf '%s' "$prompt" | sed 's/\\/\\\\/g; s/"/\\"/g; s/\t/\\t/g' | awk 'NR > 1 { printf "\\n" } { printf "%s", $0 }')
echo "POST http://127.0.0.1:$port/execute"
echo
printf '%s' "$prompt"
# Events as they come; of each token event the text, with JSON's escapes undone.
{ curl -sSN "http://127.0.0.1:$port/execute" -d "{\"prompt\":\"$json\",\"max_tokens\":200,\"temperature\":0}" || [ $? != 7 ] || echo unreached; } |
	while IFS= read -r line; do
		case $line in
		'data: {"type":"token"'*)
			text=${line#*\"t\":\"}
			printf '%b' "$(printf '%s' "${text%\",\"i\"*}" | sed 's/\\"/"/g; s/\\u00\([0-9a-f][0-9a-f]\)/\\x\1/g')."  | sed '$ s/\.$//'
			;;
		'data: {"type":"end"'*)
			printf '\n\n%s\n' "$line" | sed 's/^data: //'
			;;
		'data: {"type":"error"'*)
			printf '\n%s\n' "$line"
			;;
		unreached)
			echo "The worker serves, but could not be asked: is the loopback interface up? (ip link set lo up)" >&2
			exit 1
			;;
		esac
	done
cat <<END

Serving. Open http://127.0.0.1:$port/ in a browser, or in another terminal:

  curl -N http://127.0.0.1:$port/execute -d '{"prompt":"The capital of France is","max_tokens":20,"temperature":0}'

Ctrl-C ends it.
END
wait "$worker"
