# Tallow. `make help` lists the targets.

CONFIG  ?= release
PREFIX  ?= /usr/local
MODEL   ?= models/tallow-tiny
PROMPT  ?= Once upon a time
PORT    ?= 8080
PYTHON  := /usr/bin/python3
# All cores, unless make was told how many.
SUBMAKE  = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

BUILD   := build/$(CONFIG)
BIN     := $(if $(filter release,$(CONFIG)),build/tallow,$(BUILD)/tallow)

# ---- dependencies: each is asked for by pkg-config, installed only when missing ----

BUILD_PKGS  := libmicrohttpd libcjson libutf8proc libpcre2-8 libcurl libedit zlib
BUILD_DEBS  := gcc libc6-dev pkg-config libmicrohttpd-dev libcjson-dev libutf8proc-dev libpcre2-dev \
               libcurl4-openssl-dev libedit-dev libopenblas-serial-dev zlib1g-dev curl
TEST_DEBS   := libcmocka-dev python3 python3-pytest python3-pytest-xdist python3-jsonschema
LINT_DEBS   := clang-format clang-tidy cppcheck
FUZZ_DEBS   := clang libclang-rt-14-dev
QEMU_DEBS   := qemu-user-static
NEON_DEBS   := gcc-aarch64-linux-gnu libc6-dev-arm64-cross $(QEMU_DEBS)
ARM64_DEBS  := libcmocka-dev libcmocka0 libcjson-dev libcjson1 libopenblas-serial-dev libgnutls28-dev \
               libgnutls30 libnettle8 libhogweed6 libgmp10 libidn2-0 libunistring2 libp11-kit0 libtasn1-6 libffi8

# libFuzzer itself; the name of a file that is not there when it is missing.
FUZZ_LIB = $(or $(firstword $(wildcard /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a)),/usr/lib/libFuzzer.a)

# OpenBLAS: the serial build, linked statically. It starts no threads (the pool is ours, and a thread that exists before
# main would take signals), and the binary does not depend on which BLAS a machine has chosen. Its one function that is
# not safe to call from several threads is wrapped (src/kernels/openblas_memory.c).
MULTIARCH    = $(or $(shell gcc -print-multiarch 2>/dev/null),$(shell uname -m)-linux-gnu)
BLAS_LIB     = $(ROOT)/usr/lib/$(MULTIARCH)/openblas-serial/libopenblas.a
BLAS_INCLUDE = $(ROOT)/usr/include/$(MULTIARCH)/openblas-serial
BLAS_WRAP   := -Wl,--wrap=blas_memory_alloc,--wrap=blas_memory_free
# In place of two thirds of it, which nothing calls.
BLAS_UNUSED  = $(BUILD)/openblas_unused.o

# libmicrohttpd: linked statically, so that what it reads from a socket can be looked at before it is parsed, and so that it
# sends without sendmsg (src/server/http/gate.h, gate.c). Debian builds it with GnuTLS, of which we use SHA-256 alone
# (src/base/digest.c).
HTTP_LIBS   := -l:libmicrohttpd.a -lgnutls
HTTP_WRAP   := -Wl,--wrap=recv,--wrap=sendmsg
LINK_PKGS   := $(filter-out libmicrohttpd,$(BUILD_PKGS))

# ---- flags ----

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wpointer-arith $(if $(WERROR),-Werror)
# No contraction: a*b+c is rounded twice unless a kernel says fma, so that results do not depend on the compiler's mood.
# Where it was built is not told: the same commit gives the same bytes (`make reproducible`).
CFLAGS_common  := -std=gnu11 -D_GNU_SOURCE -g -ffile-prefix-map=$(CURDIR)=. -ffp-contract=off -pthread $(WARNINGS)
export PWD     := $(CURDIR)
# Where jumps and returns may lead is marked for CPUs that check it (`make hardened` looks).
CONTROL_FLOW = $(if $(filter x86_64%,$(MULTIARCH)),-fcf-protection=full)
CFLAGS_release  = -O2 -fPIE -fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=3 $(CONTROL_FLOW)
CFLAGS_debug   := -O0 -fno-omit-frame-pointer
CFLAGS_asan    := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
CFLAGS_tsan    := -O1 -fno-omit-frame-pointer -fsanitize=thread
# For the fuzz targets; clang-14's own complaint about CPU_SET is left out.
CFLAGS_fuzz    := -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined \
                  -Wno-sign-compare
LDFLAGS_release := -pie -Wl,-z,relro,-z,now,-z,noexecstack
LDFLAGS_asan    := -fsanitize=address,undefined
LDFLAGS_tsan    := -fsanitize=thread
LDFLAGS_fuzz    := -fsanitize=fuzzer,address,undefined -Wl,--wrap=getrandom -Wl,--as-needed

# (libedit's own header lies where all do; its flags would only point to another library's names for it.)
INCLUDES = -Iinclude -Isrc -I$(BLAS_INCLUDE) $(shell pkg-config --cflags $(filter-out libedit,$(BUILD_PKGS)) 2>/dev/null)
LIBS     = $(BLAS_WRAP) $(BLAS_UNUSED) $(BLAS_LIB) $(HTTP_WRAP) $(HTTP_LIBS) $(shell pkg-config --libs $(LINK_PKGS) 2>/dev/null) -lm -lpthread
ALL_CFLAGS = $(CFLAGS_common) $(CFLAGS_$(CONFIG)) $(INCLUDES) $(CFLAGS)

# Layers, and rooms in them.
SOURCES := $(sort $(wildcard src/*/*.c src/*/*/*.c))
TESTS   := $(sort $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c)))

# CONFIG=neon: the layers that the NEON kernels matter to, with their tests, for AArch64 on another machine. Debian's
# libraries for it are unpacked under ROOT (tests/tools/arm64_root.sh).
ifeq ($(CONFIG),neon)
ROOT      := $(BUILD)/root
CC        := aarch64-linux-gnu-gcc
AR        := aarch64-linux-gnu-ar
MULTIARCH := aarch64-linux-gnu
INCLUDES   = -Iinclude -Isrc -I$(BLAS_INCLUDE) -I$(ROOT)/usr/include
LIBS       = $(BLAS_WRAP) $(BLAS_UNUSED) $(BLAS_LIB) -L$(ROOT)/usr/lib/$(MULTIARCH) -lcjson -lgnutls -lm -lpthread
CFLAGS_neon   = $(CFLAGS_release)
LDFLAGS_neon := $(LDFLAGS_release) '-Wl,-rpath,$$ORIGIN/../root/usr/lib/$(MULTIARCH)' \
                -Wl,-rpath-link,$(ROOT)/usr/lib/$(MULTIARCH),--disable-new-dtags # those of libraries, too, are found there
SOURCES   := $(sort $(wildcard $(foreach layer,base tensor kernels model,src/$(layer)/*.c src/$(layer)/*/*.c)))
TESTS     := $(patsubst %,$(BUILD)/tests/test_%,platform pool kernels quant rounding matmul attention model)
NEON_CPU  := max
export TALLOW_RUNNER := qemu-aarch64-static -L /usr/$(MULTIARCH) -cpu $(NEON_CPU)
export TALLOW_TEST_GOLDENS := gqa-f32 mha-f16-tied odd-sizes-bf16
endif
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
# libFuzzer comes with clang, and the kernels are written for gcc: the release's, which nobody fuzzes.
ifeq ($(CONFIG),fuzz)
CC      := clang
OBJECTS := $(OBJECTS:build/fuzz/src/kernels/%=build/release/src/kernels/%)
endif

export TALLOW_BINARY := $(BIN)
ifneq ($(wildcard ../shared/fixtures),)
export TALLOW_FIXTURES := ../shared/fixtures
endif

# ---- build ----

.PHONY: all
all: deps ## build the worker (the default)
	+@$(SUBMAKE) build

.PHONY: build
build: $(BIN)

$(BIN): $(BUILD)/src/main.o $(OBJECTS) | $(BLAS_UNUSED)
	@echo "  LD  $@"
	@$(CC) $(LDFLAGS_$(CONFIG)) -o $@ $^ $(LIBS) $(LDFLAGS)
	@$(if $(filter release,$(CONFIG)),objcopy --only-keep-debug $@ $@.debug && strip --strip-unneeded $@ && cd $(@D) && objcopy --add-gnu-debuglink=$(@F).debug $(@F))

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC  $<"
	@$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BLAS_UNUSED): src/kernels/openblas_unused.sh
	@mkdir -p $(@D)
	@src/kernels/openblas_unused.sh $(BLAS_LIB) >$(@:.o=.c) && $(CC) $(CFLAGS_common) $(CFLAGS_release) -c -o $@ $(@:.o=.c)

# A test is linked with what it calls alone: with everything, the links would take as long as the compiler.
ARCHIVE := $(BUILD)/objects.a
$(ARCHIVE): $(OBJECTS)
	@rm -f $@ && $(AR) rcsT $@ $^
$(BUILD)/tests/%: $(BUILD)/tests/unit/%.o $(ARCHIVE) | $(BLAS_UNUSED)
	@mkdir -p $(@D)
	@$(CC) $(LDFLAGS_$(CONFIG)) -o $@ $(filter %.o,$^) -lcmocka -Wl,--start-group $(ARCHIVE) $(LIBS) -Wl,--end-group

# The scheduler's load, for its test and for `make simulate`.
$(BUILD)/tests/test_simulation: $(BUILD)/tests/bench/simulation.o

# --version tells the commit; the file changes, and the program with it, only when that does.
COMMIT := $(or $(shell git -C . rev-parse --short=12 HEAD 2>/dev/null),unknown)$(if $(shell git status --porcelain -uno 2>/dev/null),+changes)
$(if $(filter-out $(COMMIT),$(or $(shell cat build/commit 2>/dev/null),none)),$(shell mkdir -p build && echo '$(COMMIT)' >build/commit))
$(BUILD)/src/cli/version.o: build/commit
$(BUILD)/src/cli/version.o: CFLAGS_common += -DTALLOW_COMMIT='"$(COMMIT)"'

# The assembler includes the description of the routes and the page, which no dependency file tells.
$(BUILD)/src/server/routes/openapi.o: src/server/routes/openapi.json
$(BUILD)/src/server/routes/page.o: $(wildcard src/server/page/*)

# The kernels' inner loops profit from -O3; nothing else does. On AArch64 gcc would move loads ahead before it hands out
# registers and then have too few for a tile: half of the instructions of a quantised product were spills. (On x86-64 it
# does not do so by itself.)
$(BUILD)/src/kernels/%.o: CFLAGS_release += -O3 -fno-schedule-insns
# It would also put off the sums of a tile until all products are there, or sum these in a tree: twice to four times the
# registers that there are.
$(BUILD)/src/kernels/%_quant.o $(BUILD)/src/kernels/%_vnni.o $(BUILD)/src/kernels/neon%.o: \
    CFLAGS_release += -fno-tree-ter -fno-tree-reassoc
# Where a debugger finds each variable costs gcc more than the code: 33 s and 1.3 GB instead of 19 s and 0.6 GB.
$(BUILD)/src/kernels/%_quant.o $(BUILD)/src/kernels/%_vnni.o: CFLAGS += -fno-var-tracking

# The loops over numbers share nothing but what the pool hands them, and would take minutes when every load is watched.
UNWATCHED := $(addprefix build/tsan/src/kernels/,scalar.o avx2.o avx2_bf16.o avx2_quant.o avx2_vnni.o avx512.o \
              avx512_bf16.o avx512_quant.o avx512_vnni.o amx.o)
$(UNWATCHED): CFLAGS_tsan := -O2
# Most of what tests under ASan wait for: in half the time so.
build/asan/src/kernels/%.o: CFLAGS_asan += -O2
# Watched for addresses alone: with UBSan, too, gcc takes three times as long for these, and at -O1 without it ten times.
# A call for each check instead of the check itself: less than half as long.
$(addprefix build/asan/src/kernels/,avx2_quant.o avx2_vnni.o avx512_quant.o avx512_vnni.o): \
    CFLAGS_asan := -Og -fno-omit-frame-pointer -fsanitize=address --param asan-instrumentation-with-call-threshold=0

# Numbers that automata compare are not an input's: to note them is two thirds of the time.
$(filter-out $(addprefix build/fuzz/src/text/grammar/,gbnf.o pattern% schema%),\
    $(filter build/fuzz/src/text/grammar/%,$(OBJECTS))): CFLAGS_fuzz += -fno-sanitize-coverage=trace-cmp

FUZZ_TARGETS  := answer config dialects gguf safetensors template tokenizer http grammar
FUZZ_PROGRAMS := $(FUZZ_TARGETS:%=$(BUILD)/tests/fuzz_%)
FUZZ_OBJECTS  := $(filter build/release/% $(foreach layer,base tensor text model,$(BUILD)/src/$(layer)/%),$(OBJECTS)) \
                 $(BUILD)/src/server/http/head.o $(BUILD)/src/server/http/chunks.o
# What dialects fill in is submitted to the engine by the same room: all there is is linked.
$(BUILD)/tests/fuzz_dialects: $(filter-out $(FUZZ_OBJECTS),$(OBJECTS))
# Inputs that are JSON are changed by their values.
$(addprefix $(BUILD)/tests/fuzz_,answer config dialects grammar tokenizer): $(BUILD)/tests/fuzz/json_mutator.o
$(FUZZ_PROGRAMS): $(BUILD)/tests/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/tests/fuzz/fuzz.o $(FUZZ_OBJECTS) | $(BLAS_UNUSED)
	@mkdir -p $(@D)
	@echo "  LD  $@"
	@$(CC) $(LDFLAGS_$(CONFIG)) -o $@ $^ $(LIBS)

-include $(OBJECTS:.o=.d) $(BUILD)/src/main.d $(wildcard $(BUILD)/tests/unit/*.d $(BUILD)/tests/bench/*.d $(BUILD)/tests/fuzz/*.d)
.SECONDARY:

.PHONY: deps test-deps fuzz-deps lint-deps
deps: ## install what the build needs, if it is missing
	@tests/tools/install.sh "$(BUILD_PKGS)" "gcc curl $(BLAS_LIB)" "$(BUILD_DEBS)"
test-deps: deps
	@tests/tools/install.sh "cmocka" "$(PYTHON) pytest xdist jsonschema" "$(TEST_DEBS)"
fuzz-deps: deps
	@tests/tools/install.sh "" "clang $(FUZZ_LIB)" "$(FUZZ_DEBS)"
lint-deps: test-deps
	@tests/tools/install.sh "" "clang-format clang-tidy cppcheck" "$(LINT_DEBS)"
.PHONY: promtool
promtool: ## fetch the checker of /metrics, for its end-to-end test
	@tests/tools/fetch_promtool.sh build/tools

# ---- use ----

.PHONY: run
run: all ## start the worker, stream one completion, keep serving (MODEL=path PROMPT="..." PORT=n)
	@tests/tools/run.sh "$(BIN)" "$(MODEL)" "$(PROMPT)" "$(PORT)"

# install, uninstall, packages, containers
include src/deploy/deploy.mk

.PHONY: reference
reference: all ## write the table of options into README.md
	@$(PYTHON) tests/tools/reference.py $(BIN)

# ---- tests ----

.PHONY: test unit e2e neon test-programs
test-programs: $(TESTS) $(BIN)
test: test-deps ## all tests, from nothing
	+@$(SUBMAKE) test-programs
	@$(MAKE) --no-print-directory unit e2e

unit: $(TESTS) ## unit tests
	@tests/tools/run_unit.sh $(TESTS)

e2e: $(BIN) ## end-to-end tests: start the real binary
	$(PYTHON) -m pytest -q -p no:cacheprovider -n $(shell nproc) --dist loadfile $(or $(E2E),tests/e2e) $(PYTEST_ARGS)

neon: ## unit tests of the kernels and the model on AArch64, in qemu; the kernels also on a CPU without dot products
	@tests/tools/install.sh "" "aarch64-linux-gnu-gcc /usr/aarch64-linux-gnu/lib/libc.so qemu-aarch64-static" "$(NEON_DEBS)"
	@tests/tools/arm64_root.sh build/neon/root "$(ARM64_DEBS)"
	+@$(SUBMAKE) CONFIG=neon unit
	+@$(SUBMAKE) CONFIG=neon unit NEON_CPU=cortex-a72 TESTS="build/neon/tests/test_kernels build/neon/tests/test_quant"

.PHONY: cpus cpus-short
cpus cpus-short: test-deps ## unit and a few end-to-end tests as other CPUs, emulated and of OpenBLAS; cpus-short is CI's part
	@tests/tools/install.sh "" "qemu-x86_64-static" "$(QEMU_DEBS)"
	+@$(SUBMAKE) test-programs
	@tests/tools/cpus.sh $(if $(filter cpus,$@),full,short) $(BIN) $(BUILD)/tests

# Beside a worker of their own; what they need is fetched from the registries into build/clients.
.PHONY: schemathesis random-schemas clients clients-agents clients-cli compliance real-chat
clients: all ## official clients and frameworks against the running server; aider, too, where MODEL=path is given
	@tests/tools/venv.sh build/clients/openai tests/clients/openai.txt
	@mkdir -p build/clients/js && cp tests/clients/package.json tests/clients/openai.test.mjs build/clients/js
	@cd build/clients/js && npm install --silent --no-audit --no-fund --no-package-lock
	@TALLOW_API_KEY=secret tests/tools/serve_for.sh $(BIN) "--model models/tallow-tiny --parallel 2 --queue 8 --strict-model" \
	 sh -c 'build/clients/openai/bin/python -m pytest -q -W ignore -p no:cacheprovider $(filter-out tests/clients/test_agents.py,$(wildcard tests/clients/test_*.py)) && cd build/clients/js && node --test'
ifeq ($(origin MODEL),command line)
	@tests/tools/venv.sh build/clients/aider tests/clients/aider.txt
	@TALLOW_API_KEY=secret tests/tools/serve_for.sh $(BIN) "--model $(MODEL) --name local" tests/clients/aider.sh
endif
clients-agents: all ## official clients of Messages, Responses and Ollama's API against the running server
	@tests/tools/venv.sh build/clients/agents tests/clients/agents.txt
	@$(PYTHON) tests/clients/scripted.py build/clients/scripted
	@TALLOW_API_KEY=secret tests/tools/serve_for.sh $(BIN) "--model build/clients/scripted" \
	 build/clients/agents/bin/python -m pytest -q -W ignore -p no:cacheprovider tests/clients/test_agents.py
CLI_PACKAGES := @openai/codex@0.171.0 @anthropic-ai/claude-code-linux-x64@2.1.332
CLI          := build/clients/cli/node_modules
clients-cli: all ## Codex and Claude Code (350 MB) in a network namespace of their own: each has a tool make a file; as root
	@mkdir -p build/clients/cli
	@npm install --silent --no-audit --no-fund --no-package-lock --prefix build/clients/cli $(CLI_PACKAGES)
	@$(PYTHON) tests/clients/scripted.py build/clients/scripted
	@TALLOW_API_KEY=secret unshare -n sh -c 'ip link set lo up && exec tests/tools/serve_for.sh $(BIN) \
	 "--model build/clients/scripted" tests/clients/agents.sh \
	 $(CLI)/@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex $(CLI)/@anthropic-ai/claude-code-linux-x64/claude'
COMPLIANCE_TESTS := basic-response,assistant-phase,streaming-response,system-prompt,tool-calling,multi-turn
compliance: all ## the Open Responses compliance suite against the running server (SUITE=a checkout of openresponses/openresponses)
	$(if $(wildcard $(SUITE)/bin/compliance-test.ts),,$(error compliance needs SUITE=a checkout of github.com/openresponses/openresponses))
	@mkdir -p build/clients/compliance && cp -r $(SUITE)/bin $(SUITE)/src build/clients/compliance
	@npm install --silent --no-audit --no-fund --no-package-lock --prefix build/clients/compliance bun@1.3.12 zod@3.25.76
	@$(PYTHON) tests/clients/scripted.py build/clients/scripted
	@TALLOW_API_KEY=secret tests/tools/serve_for.sh $(BIN) "--model build/clients/scripted" \
	 sh -c 'build/clients/compliance/node_modules/.bin/bun run build/clients/compliance/bin/compliance-test.ts \
	 --base-url "$$URL/v1" --api-key secret --model scripted --filter $(COMPLIANCE_TESTS)'
schemathesis: all ## check the running server against /openapi.json (SCHEMATHESIS_ARGS="-n 500 --seed 7")
	@tests/tools/venv.sh build/clients/schemathesis tests/clients/schemathesis.txt
	@TALLOW_API_KEY=secret tests/tools/serve_for.sh $(BIN) "--model models/tallow-tiny --max-tokens 16 --context 256 --queue 1000" \
	 sh -c 'cd build/clients && schemathesis/bin/schemathesis --config-file ../../tests/clients/schemathesis.toml run "$$URL/openapi.json" \
	 -H "Authorization: Bearer secret" --exclude-path /shutdown $(or $(SCHEMATHESIS_ARGS),-n 50 --seed 1)'

SCHEMAS := 100000 1
random-schemas: all ## outputs and calls held to random schemas, judged by jsonschema (SCHEMAS="how-many first-seed" MODEL=path)
	@tests/tools/venv.sh build/clients/schemas tests/clients/schemas.txt
	@TALLOW_API_KEY=secret tests/tools/serve_for.sh $(BIN) "--model $(if $(filter command line,$(origin MODEL)),$(MODEL),models/tallow-tiny) --parallel 4" \
	 build/clients/schemas/bin/python tests/clients/random_schemas.py $(SCHEMAS)

real-chat: all ## ten questions to a real chat model: its answers are those of transformers (MODEL=file.gguf TRANSFORMERS=python)
	$(if $(filter %.gguf,$(MODEL)),,$(error real-chat needs MODEL=file.gguf))
	@$(if $(TRANSFORMERS),:,tests/tools/venv.sh build/clients/real tests/clients/real.txt)
	@tests/tools/serve_for.sh $(BIN) "--model $(MODEL) --compute f32 --context 2048" \
	 $(or $(TRANSFORMERS),build/clients/real/bin/python) tests/clients/real_chat.py $(MODEL)

.PHONY: page-test
page-test: all ## the page in a headless Chromium, with real clicks and axe-core; screenshots in build/page (CHAT_MODEL=path PYTEST_ARGS=...)
	@tests/tools/install.sh "" "chromium chromedriver npm" "chromium chromium-driver npm"
	@mkdir -p build/page && npm install --silent --no-audit --no-fund --no-package-lock --prefix build/page axe-core@4.10.3
	@TALLOW_CHAT_MODEL=$(CHAT_MODEL) $(PYTHON) -m pytest -q -p no:cacheprovider -p no:xdist tests/page $(PYTEST_ARGS)

.PHONY: dashboards-test
dashboards-test: all ## every query of the Grafana dashboard and every rule, asked of a Prometheus that scrapes a worker under load
	@tests/tools/unpack.sh build/tools/prometheus prometheus
	@$(PYTHON) tests/deploy/dashboards.py $(BIN) build/tools/prometheus/usr/bin/prometheus

.PHONY: balancers-test
BALANCER_DEBS := haproxy nginx liblua5.3-0 libopentracing-c-wrapper0 libopentracing1
balancers-test: all ## HAProxy and nginx before three workers in network namespaces: affinity, restarts under load, kills; as root (BALANCERS=nginx)
	@tests/tools/install.sh "" "ip nsenter openssl" "iproute2 util-linux openssl"
	@tests/tools/unpack.sh build/tools/balancers "$(BALANCER_DEBS)"
	@unshare -n $(PYTHON) -u tests/deploy/balancers.py $(BIN) build/tools/balancers/usr/sbin/haproxy build/tools/balancers/usr/sbin/nginx \
	 build/tools/balancers/usr/lib/$(MULTIARCH) $(BALANCERS)

.PHONY: kubernetes-check
kubernetes-check: all ## the manifests against the schemas of Kubernetes, their resources against the worker's plan
	@tests/tools/venv.sh build/clients/kubernetes tests/deploy/kubernetes.txt
	@build/clients/kubernetes/bin/python tests/deploy/kubernetes.py $(BIN)

.PHONY: endpoint-picker-test
endpoint-picker-test: all ## llm-d's endpoint picker with file discovery before three workers (ROUTER=a checkout of llm-d/llm-d-router; go)
	$(if $(wildcard $(ROUTER)/cmd/epp),,$(error endpoint-picker-test needs ROUTER=a checkout of github.com/llm-d/llm-d-router))
	@mkdir -p build/tools/endpoint-picker $(ROUTER)/cmd/tallow-pick && cp tests/deploy/pick.go $(ROUTER)/cmd/tallow-pick/main.go
	@cd $(ROUTER) && go build -o $(CURDIR)/build/tools/endpoint-picker/ ./cmd/epp ./cmd/tallow-pick
	@rm -r $(ROUTER)/cmd/tallow-pick
	@$(PYTHON) -u tests/deploy/endpoint_picker.py $(BIN) build/tools/endpoint-picker/epp build/tools/endpoint-picker/tallow-pick

.PHONY: faults
faults: test-deps ## each allocation of loading and of requests of every dialect fails in its turn: some minutes
	+@$(SUBMAKE) build/release/tests/test_faults
	@TALLOW_FAULT_STRIDE=1 build/release/tests/test_faults

.PHONY: language-eval
language-eval: all ## lm-evaluation-harness on a small task: log-likelihoods are those of transformers (MODEL=file.gguf TRANSFORMERS=python)
	$(if $(filter %.gguf,$(MODEL)),,$(error language-eval needs MODEL=file.gguf))
	@$(if $(TRANSFORMERS),:,tests/tools/venv.sh build/clients/language tests/clients/language.txt)
	@tests/tools/serve_for.sh $(BIN) "--model $(MODEL) --compute f32 --kv f32 --context 2048" \
	 $(or $(TRANSFORMERS),build/clients/language/bin/python) tests/clients/language_eval.py $(MODEL)

.PHONY: conversation
conversation: all ## twelve turns to 20,000 tokens: each computes what is new in it (MODEL=path CONVERSATION_ARGS="--weights q8")
	@$(PYTHON) tests/tools/conversation.py $(BIN) $(MODEL) $(CONVERSATION_ARGS)

.PHONY: accuracy
accuracy: all ## KL, perplexity and answers of each weight and KV type beside f32 (MODEL=path ACCURACY_ARGS=...)
	@$(PYTHON) tests/tools/accuracy.py $(BIN) $(MODEL) $(ACCURACY_ARGS)

.PHONY: debug asan tsan tsan-e2e fuzz fuzz-programs fuzz-corpus
debug: deps ## build with assertions and no optimisation
	+@$(SUBMAKE) CONFIG=debug build
asan: test-deps ## unit tests and some end-to-end ones under ASan and UBSan
	+@$(SUBMAKE) CONFIG=asan test-programs
	@$(MAKE) --no-print-directory CONFIG=asan unit e2e E2E="tests/e2e/test_http_execute.py tests/e2e/test_generate.py tests/e2e/test_soak.py"
tsan: test-deps ## unit tests under TSan
	+@$(SUBMAKE) CONFIG=tsan test-programs
	@$(MAKE) --no-print-directory CONFIG=tsan unit
tsan-e2e: test-deps ## end-to-end tests under TSan (E2E=files for some): an hour
	+@$(SUBMAKE) CONFIG=tsan build
	@$(MAKE) --no-print-directory CONFIG=tsan e2e

fuzz-programs: $(FUZZ_PROGRAMS)
fuzz: fuzz-deps ## fuzz the parsers of model files, templates and requests from tests/fuzz/corpus (FUZZ_SECONDS=20 for each)
	+@$(SUBMAKE) build
	+@$(SUBMAKE) CONFIG=fuzz fuzz-programs
	@tests/tools/fuzz.sh run build/fuzz "$(or $(FUZZ_SECONDS),20)" $(FUZZ_TARGETS)
fuzz-corpus: fuzz-deps ## add what `make fuzz` found to tests/fuzz/corpus, as few files as reach the same
	+@$(SUBMAKE) build
	+@$(SUBMAKE) CONFIG=fuzz fuzz-programs
	@tests/tools/fuzz.sh keep build/fuzz 0 $(FUZZ_TARGETS)

.PHONY: soak soak-connections fuzz-server
soak: all ## 100,000 random requests, some cancelled or left: everything adds up (REQUESTS=n SEED=n SERVE_ARGS=; CONFIG=asan)
	@$(PYTHON) tests/soak/soak.py $(BIN) --requests $(or $(REQUESTS),100000) --seed $(or $(SEED),1) --serve "$(SERVE_ARGS)"
soak-connections: all ## idle, slow, hostile connections in numbers beside good ones (MINUTES=10 of it; CONFIG=asan)
	@$(PYTHON) tests/soak/connections.py $(BIN) --minutes $(or $(MINUTES),10)
fuzz-server: all ## mutated HTTP to the running server (SECONDS=60 SEED=n; CONFIG=asan)
	@$(PYTHON) tests/soak/fuzz_server.py $(BIN) --seconds $(or $(SECONDS),60) --seed $(or $(SEED),1)

# ---- checks ----

.PHONY: lint layers isa hardened format
lint: lint-deps layers isa hardened ## clang-format, clang-tidy, cppcheck, layers, isa, hardened
	@tests/lint/lint.sh
layers: ## check the includes against the layer table
	@$(PYTHON) tests/lint/layers.py
isa: all ## check that no object has an instruction beyond the set of its file
	@$(PYTHON) tests/lint/isa.py $(BUILD)
hardened: all ## check that the program is linked and compiled as it should be against attacks
	@$(PYTHON) tests/lint/hardened.py $(BIN) $(BUILD)
format: ## rewrite the sources as clang-format wants them
	clang-format -i $$(git ls-files '*.c' '*.h' '*.inc')

# ---- measuring ----

BENCH_MODEL := build/bench/tinyllama-1.1b

.PHONY: bench bench-model bench-http bench-neighbours simulate maskbench profile
bench: all bench-model build/bench/load ## measure on a TinyLlama-1.1B-shaped model, then the same over HTTP (BENCH_ARGS=...)
	$(BIN) bench --model $(BENCH_MODEL) --weights bf16,q8,q4 --plot build/bench/roofline.svg $(BENCH_ARGS)
	@$(MAKE) --no-print-directory bench-http
bench-model: $(BENCH_MODEL)/model.safetensors
$(BENCH_MODEL)/model.safetensors: tests/bench/make_model.c
	@mkdir -p $(BENCH_MODEL)
	$(CC) -O2 -o build/bench/make_model $<
	build/bench/make_model $(BENCH_MODEL)
build/bench/load: tests/bench/load.c
	@mkdir -p $(@D)
	@echo "  CC  $<"
	@$(CC) $(CFLAGS_common) -O2 -o $@ $< $(shell pkg-config --cflags --libs libcurl)
bench-http: all bench-model build/bench/load ## the same model over HTTP: latency, gaps, /health under load (SERVE_ARGS=... LOAD_ARGS=...)
	@tests/bench/http.sh $(BIN) $(BENCH_MODEL) build/bench/load "--weights q8 $(SERVE_ARGS)" "--health --long-prompt 3000 $(LOAD_ARGS)"
bench-neighbours: all bench-model ## speed beside 0, 1 and 3 busy processes per core (NEIGHBOURS_ARGS=--help)
	@$(PYTHON) tests/bench/neighbours.py $(NEIGHBOURS_ARGS)
build/bench/simulate: $(BUILD)/tests/bench/simulate.o $(BUILD)/tests/bench/simulation.o $(BUILD)/src/engine/scheduler.o
	@mkdir -p $(@D)
	@$(CC) -o $@ $^ -lm
simulate: build/bench/simulate ## a day of made-up load on the scheduler in seconds: queue, gaps, fairness (SIMULATE_ARGS=--help)
	@build/bench/simulate $(SIMULATE_ARGS)
build/bench/maskbench: $(BUILD)/tests/bench/maskbench.o $(ARCHIVE) | $(BLAS_UNUSED)
	@mkdir -p $(@D)
	@$(CC) -o $@ $< -Wl,--start-group $(ARCHIVE) $(LIBS) -Wl,--end-group
build/bench/sampling: $(BUILD)/tests/bench/sampling.o $(ARCHIVE) | $(BLAS_UNUSED)
	@mkdir -p $(@D)
	@$(CC) -o $@ $< -Wl,--start-group $(ARCHIVE) $(LIBS) -Wl,--end-group
.PHONY: bench-sampling bench-constrained
bench-constrained: all ## streams with constraints beside streams without, on one worker (MODEL=path, best with a large vocabulary)
	@tests/tools/serve_for.sh $(BIN) "--model $(MODEL) --parallel 8 --context 1024 $(SERVE_ARGS)" $(PYTHON) tests/bench/constrained.py $(CONSTRAINED_ARGS)
bench-sampling: build/bench/sampling ## CPU time of drawing a token at a vocabulary of 128,256, for requests of several kinds
	@build/bench/sampling
maskbench: build/bench/maskbench ## schemas of MaskBench (DATA=folder, not part of this repository; TOKENIZER=folder MASKBENCH_ARGS=--list)
	$(if $(DATA),,$(error maskbench needs DATA=folder: maskbench/data of guidance-ai/jsonschemabench))
	@build/bench/maskbench $(or $(TOKENIZER),$(or $(TALLOW_FIXTURES),../shared/fixtures)/tokenizers/llama-3.2) $(DATA) $(MASKBENCH_ARGS)
profile: all bench-model ## perf record of a decode; a flame graph if its tools are there
	@tests/tools/profile.sh $(BIN) $(BENCH_MODEL)

.PHONY: clean help
clean: ## remove everything that was built
	rm -rf build
help: ## this list
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'
