#!/usr/bin/env bash
# Fuzzes each target for a while, one on each core at a time, from tests/fuzz/corpus and what earlier runs found; or adds that to the corpus.
#   fuzz.sh run|keep BUILD SECONDS TARGET...
# A crash, leak, hang or large allocation leaves the input in BUILD/crashes and a line that says how to repeat it.
set -uo pipefail
what=$1
export build=$2 seconds=$3
shift 3
export ASAN_OPTIONS=allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1
TMPDIR=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)/tallow-fuzz-XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
export limits="-seed=1 -timeout=600 -rss_limit_mb=1024 -malloc_limit_mb=128"

# The longest inputs worth trying: every branch is reached with less, and short ones are quick.
max_length() {
	case $1 in
	config) echo 4096 ;;
	safetensors) echo 6144 ;;
	*) echo 16384 ;;
	esac
}

run_one() {
	local log=$TMPDIR/$1.log options runs edges input
	mkdir -p "$build/found/$1" "$build/crashes"
	options="$limits -max_len=$(max_length "$1") -dict=tests/fuzz/$1.dict -print_final_stats=1"
	# shellcheck disable=SC2086 # a list of words
	if "$build/tests/fuzz_$1" $options -max_total_time="$seconds" -artifact_prefix="$build/crashes/$1-" \
		"$build/found/$1" "tests/fuzz/corpus/$1" >"$log" 2>&1; then
		echo passed >"$TMPDIR/$1.result"
		runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
		edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
		printf '  fuzz_%-12s %s s, %s inputs, %s edges\n' "$1" "$seconds" "$runs" "$edges"
	else
		echo failed >"$TMPDIR/$1.result"
		grep -vE '^#[0-9]+|NEW_FUNC|^Dictionary' "$log" | tail -n 80
		input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
		printf '  fuzz_%-12s FAILED; again: %s\n' "$1" "$build/tests/fuzz_$1 $limits $input"
	fi
}

# The smallest set of files that reaches what all of them reach.
keep_one() {
	local log=$TMPDIR/$1.log
	mkdir -p "$build/found/$1" "$TMPDIR/$1"
	if "$build/tests/fuzz_$1" -set_cover_merge=1 -max_len="$(max_length "$1")" "$TMPDIR/$1" \
		"tests/fuzz/corpus/$1" "$build/found/$1" >"$log" 2>&1; then
		echo passed >"$TMPDIR/$1.result"
		rm -f "tests/fuzz/corpus/$1"/*
		mv "$TMPDIR/$1"/* "tests/fuzz/corpus/$1"
		printf '  fuzz_%-12s %s files\n' "$1" "$(find "tests/fuzz/corpus/$1" -type f | wc -l)"
	else
		echo failed >"$TMPDIR/$1.result"
		tail -n 40 "$log"
		printf '  fuzz_%-12s FAILED\n' "$1"
	fi
}

export -f max_length run_one keep_one
printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} bash -c "${what}_one"' "$1"' "$what" {}
passed=$(cat "$TMPDIR"/*.result 2>/dev/null | grep -c passed)
echo "$passed passed, $(($# - passed)) failed"
[ "$passed" = $# ]
