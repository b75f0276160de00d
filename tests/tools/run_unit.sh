#!/usr/bin/env bash
# Runs cmocka programs from the repository's root, one on each core at a time, through TALLOW_RUNNER if that is set; one
# line for each that passes, everything for one that fails.
set -uo pipefail
export limit=1200 # hangs; a busy machine takes its time
[ -z "${TALLOW_RUNNER-}" ] || limit=3600 # so does an emulator
results=$(mktemp -d)
export results
trap 'rm -rf "$results"' EXIT

run_one() {
	local name log count
	name=$(basename "$1")
	log=$results/$name.log
	# shellcheck disable=SC2086 # a command and its arguments
	if timeout $limit ${TALLOW_RUNNER-} "$1" >"$log" 2>&1; then
		count=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$log" | tail -n 1)
		echo "${count:-0} 0" >"$results/$name.count"
		printf '  %-28s %s\n' "$name" "${count:-0} passed"
	else
		count=$(sed -n 's/^ *\([0-9]*\) FAILED TEST.*/\1/p' "$log" | tail -n 1)
		echo "0 ${count:-1}" >"$results/$name.count"
		printf '%s\n  %-28s FAILED\n' "$(cat "$log")" "$name"
	fi
}
export -f run_one

printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} bash -c 'run_one "$1"' run_one {}
cat "$results"/*.count 2>/dev/null | awk -v n_programs=$# '
	{ passed += $1; failed += $2 }
	END {
		failed += n_programs - NR # those that left no result
		printf "%d passed, %d failed\n", passed, failed
		exit failed > 0 || passed == 0
	}'
