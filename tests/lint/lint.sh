#!/bin/sh
# clang-format, clang-tidy and cppcheck over the whole tree; fails if any of them has something to say.
set -u
status=0
sources=$(find src include tests -name '*.[ch]' -o -name '*.inc' | sort)
# shellcheck disable=SC2086 # lists of words below
clang-format --dry-run -Werror $sources || status=1

multiarch=$(gcc -print-multiarch)
flags="-std=gnu11 -D_GNU_SOURCE -Iinclude -Isrc -isystem /usr/include/$multiarch/openblas-serial"
find src -name '*.c' | sort | xargs -P 2 -n 1 sh -c "clang-tidy --quiet \"\$@\" -- $flags 2>/dev/null" lint || status=1

cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
	--suppressions-list=tests/lint/cppcheck.txt -D__x86_64__ -D_GNU_SOURCE -Iinclude -Isrc -j 2 src || status=1
[ $status = 0 ] && echo "lint: clean"
exit $status
