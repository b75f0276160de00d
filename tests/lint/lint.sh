#!/bin/sh
# clang-format, clang-tidy and cppcheck over the whole tree; fails if any of them has something to say.
set -u
status=0
sources=$(find src include tests -name '*.[ch]' -o -name '*.inc' | sort)
# shellcheck disable=SC2086 # lists of words below
clang-format --dry-run -Werror $sources || status=1

multiarch=$(gcc -print-multiarch)
flags="-std=gnu11 -D_GNU_SOURCE -Iinclude -Isrc -isystem /usr/include/$multiarch/openblas-serial"
# How far the analyzer follows a function: by default three times as far, in three times the time (ten minutes on two cores).
far="--extra-arg=-Xclang --extra-arg=-analyzer-config --extra-arg=-Xclang --extra-arg=max-nodes=75000"
find src -name '*.c' | sort | xargs -P "$(nproc)" -n 1 sh -c "clang-tidy --quiet $far \"\$@\" -- $flags 2>/dev/null" lint || status=1

cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
	--suppressions-list=tests/lint/cppcheck.txt -D__x86_64__ -D_GNU_SOURCE -Iinclude -Isrc -j "$(nproc)" src || status=1
[ $status = 0 ] && echo "lint: clean"
exit $status
