#!/bin/sh
# openblas_unused.sh LIBRARY: C that stands in for the functions of OpenBLAS that nothing here can reach.
#
# Its library for all CPUs has a table for each kind of them, with all its functions for f32, f64 and complex numbers. What is
# called is sgemm, which takes those for f32 from the table and no others; the rest would be two thirds of the program. They
# get one body, which traps, and so the linker takes none of theirs.
set -eu
symbols=$(nm -g --defined-only "$1" 2>/dev/null)
kinds=$(printf '%s\n' "$symbols" | sed -n 's/.* D gotoblas_//p' | paste -s -d '|')
[ -n "$kinds" ] || { echo "openblas_unused.sh: $1 has no tables for kinds of CPUs" >&2; exit 1; }
echo 'void openblas_unused(void);'
echo 'void openblas_unused(void) { __builtin_trap(); }'
echo '__asm__('
printf '%s\n' "$symbols" | sed -nE 's/.* T (i?[cdz][a-z0-9_]*_('"$kinds"'))$/"\t.globl \1\\n\t.set \1, openblas_unused\\n"/p' | LC_ALL=C sort -u
echo ');'
