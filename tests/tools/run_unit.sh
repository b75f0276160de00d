#!/bin/sh
# Runs cmocka programs from the repository's root, through TALLOW_RUNNER if that is set; one line for each that passes,
# everything for one that fails.
passed=0
failed=0
limit=1200 # hangs; a busy machine takes its time
[ -z "${TALLOW_RUNNER-}" ] || limit=3600 # so does an emulator
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for program in "$@"; do
	# shellcheck disable=SC2086 # a command and its arguments
	if timeout $limit ${TALLOW_RUNNER-} "$program" >"$log" 2>&1; then
		count=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$log" | tail -n 1)
		passed=$((passed + ${count:-0}))
		printf '  %-28s %s\n' "$(basename "$program")" "${count:-0} passed"
	else
		cat "$log"
		count=$(sed -n 's/^ *\([0-9]*\) FAILED TEST.*/\1/p' "$log" | tail -n 1)
		failed=$((failed + ${count:-1}))
		printf '  %-28s FAILED\n' "$(basename "$program")"
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
