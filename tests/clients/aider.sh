#!/usr/bin/env bash
# One question by aider, unchanged, to the worker at $URL, in a repository of its own. What a small model says of code is no
# matter: an answer must come, and the worker must have made it.
set -euo pipefail
aider=$PWD/build/clients/aider/bin/aider
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
git init -q
printf 'def add(a, b):\n    return a - b\n' >sums.py
OPENAI_API_BASE=$URL/v1 OPENAI_API_KEY=$TALLOW_API_KEY HOME=$folder "$aider" --model openai/local --no-show-model-warnings \
	--no-check-update --analytics-disable --no-git --no-auto-lint --yes-always --no-pretty --edit-format whole \
	--message "/ask What does sums.py do?" sums.py | tee answer.txt
grep -q '^Tokens: .* sent, .* received' answer.txt
completed=$(curl -sf -H "Authorization: Bearer $TALLOW_API_KEY" "$URL/metrics" |
	sed -n 's/^worker_requests_total{outcome="completed"} //p')
[ "$completed" -ge 1 ] || { echo "the worker completed nothing"; exit 1; }
