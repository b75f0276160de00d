#!/bin/sh
# Prints a patch for deployment.yaml with the resources that a model takes with the given options, and those options:
#   resources.sh MODEL --context N --parallel N --kv-memory SIZE --threads N ...  >resources.yaml
#   (kustomization.yaml:  patches: [{path: resources.yaml}], or kubectl patch deployment tallow --patch-file resources.yaml)
# The numbers are the worker's own plan (`tallow inspect --json`); TALLOW names another binary.
set -eu
model=$1
shift
number() { printf '%s' "$plan" | grep -o '"memory":.*' | grep -o "\"$1\":[0-9]*" | head -1 | cut -d: -f2; }
# Some of what is planned grows with the limit, which is what the plan is to give: a few rounds settle it.
memory=65536
for _ in 1 2 3 4; do
	plan=$("${TALLOW:-tallow}" inspect "$model" "$@" --memory-limit "${memory}MiB" --json) || { printf '%s\n' "$plan" >&2; exit 3; }
	total=$(number total_bytes) threads=$(number threads)
	[ -n "$total" ] && [ -n "$threads" ] || { echo "$0: inspect makes no memory plan of $model: $plan" >&2; exit 3; }
	memory=$(((total + total / 20 + 1048575) / 1048576))
done
printf 'apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: tallow\nspec:\n  template:\n    spec:\n      containers:\n        - name: tallow\n          args:\n'
# As a string of YAML; a variable's name in it is not Kubernetes' to expand.
quoted() { printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g; s/\$(/$$(/g')"; }
for argument in serve "--model=$model" --host=0.0.0.0 --port=8080 --shutdown-delay=5s --shutdown-timeout=60s --metrics-vllm-names "$@"; do
	printf '            - %s\n' "$(quoted "$argument")"
done
printf '          resources:\n            requests: {cpu: "%s", memory: %s}\n            limits: {cpu: "%s", memory: %s}\n' "$threads" "${memory}Mi" "$threads" "${memory}Mi"
