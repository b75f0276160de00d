#!/bin/sh
# `make profile`: perf record of the benchmark; a flame graph where its scripts are installed.
#   profile.sh BINARY MODEL
set -eu
command -v perf >/dev/null 2>&1 || {
	echo "perf is not installed (Debian: apt-get install linux-perf)" >&2
	exit 1
}
out=build/profile
mkdir -p "$out"
perf record -g -o "$out/perf.data" "$1" bench --model "$2" --quick
perf report --stdio -i "$out/perf.data" --no-children | head -60 | tee "$out/report.txt"
if command -v stackcollapse-perf.pl >/dev/null 2>&1 && command -v flamegraph.pl >/dev/null 2>&1; then
	perf script -i "$out/perf.data" | stackcollapse-perf.pl | flamegraph.pl >"$out/flame.svg"
	echo "flame graph: $out/flame.svg"
fi
