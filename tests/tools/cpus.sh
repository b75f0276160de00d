#!/usr/bin/env bash
# Runs tests as other CPUs: emulated ones in qemu-user, and this machine held to each instruction set and to each of
# OpenBLAS's kernels that it has the instructions for.
#   cpus.sh short|full BINARY FOLDER_OF_UNIT_TESTS
# An emulator shows that a program stays within the instructions of a CPU and that its numbers are right, not how fast.
set -uo pipefail
form=$1
export TALLOW_BINARY=$2
programs=$3
failed=0
# An emulator has time for a few models.
few_goldens="gqa-f32 mha-f16-tied odd-sizes-bf16"
served="tests/e2e/test_generate.py::test_exact_answers tests/e2e/test_http_execute.py::test_one_object_equals_the_stream"
handful="$served tests/e2e/test_generate.py::test_generate_equals_the_worker
	tests/e2e/test_gguf.py::test_logits_and_ids_are_those_of_the_safetensors
	tests/e2e/test_cli.py::test_perplexity_is_that_of_the_logits tests/e2e/test_cli.py::test_bench_prints_a_table"

run() {
	"$@" || { echo "FAILED: $*"; failed=$((failed + 1)); }
}

unit() { # names of programs
	local name list=()
	for name in "$@"; do
		list+=("$programs/test_$name")
	done
	run tests/tools/run_unit.sh "${list[@]}"
}

e2e() { # test ids
	run /usr/bin/python3 -m pytest -q -p no:cacheprovider -n "$(nproc)" "$@"
}

# An emulated CPU, less the features that qemu would warn of in every process, and the kernels of OpenBLAS for it.
emulated() {
	echo "== $1, emulated ($form)"
	(
		export TALLOW_RUNNER="qemu-x86_64-static -cpu $1$2" OPENBLAS_CORETYPE=$1 TALLOW_TEST_GOLDENS=$few_goldens
		# shellcheck disable=SC2046,SC2086 # lists of words
		if [ "$form" = short ]; then
			unit platform kernels quant model
			e2e $served
		else
			unit $(basename -a "$programs"/test_* | grep -v '\.d$' | sed 's/^test_//')
			e2e $handful
		fi
		exit $failed
	) || failed=$((failed + 1))
}

has() { # flags of /proc/cpuinfo
	local flag
	for flag in "$@"; do
		grep -qm1 "^flags.* $flag\( \|$\)" /proc/cpuinfo || return 1
	done
}

# Kernels of OpenBLAS that this CPU has the instructions for; another type would be its illegal instruction.
openblas_types() {
	has sse4_2 && echo Nehalem
	has avx && echo Sandybridge
	has avx2 fma && printf '%s\n' Haswell Zen
	has avx512f avx512bw avx512dq avx512vl avx512cd && echo SkylakeX
}

# AVX2 is the set that calls OpenBLAS.
with_openblas() {
	echo "== OPENBLAS_CORETYPE=$1, --isa avx2 ($form)"
	(
		export OPENBLAS_CORETYPE=$1 TALLOW_TEST_ISA=avx2
		has avx2 fma f16c || TALLOW_TEST_ISA=auto
		# shellcheck disable=SC2086 # a list of words
		if [ "$form" = short ]; then
			unit gguf_model
			e2e tests/e2e/test_gguf.py::test_logits_and_ids_are_those_of_the_safetensors
		else
			unit matmul model gguf_model engine
			e2e $handful
		fi
		exit $failed
	) || failed=$((failed + 1))
}

held_to() {
	if ! "$TALLOW_BINARY" generate --model models/tallow-tiny -p x --max-tokens 1 --isa "$1" >/dev/null 2>&1; then
		echo "== --isa $1: this CPU lacks it"
		return
	fi
	echo "== --isa $1"
	# shellcheck disable=SC2086 # a list of words
	TALLOW_TEST_ISA=$1 e2e $handful
}

emulated Nehalem ""
emulated Haswell "-noTSX,-pcid,-x2apic,-tsc-deadline,-invpcid"
if [ "$form" = short ]; then
	has avx2 fma && with_openblas Haswell
else
	for type in $(openblas_types); do
		with_openblas "$type"
	done
	for isa in scalar avx2 avx2vnni avx512bw avx512vnni avx512 amx; do
		held_to "$isa"
	done
fi
echo "$(grep -m1 '^model name' /proc/cpuinfo | sed 's/.*: //'), $(nproc) cores: $failed failed"
[ "$failed" = 0 ]
