# The one definition of how this project is built, checked and shown; .ci/run calls it.
#
#   make demo            ten neighbours of an image, from nothing (make demo DATA=~/Pictures for your own images,
#                        BACKBONE=vgg for VGG16 in place of ResNet101V2, WEIGHTS=FILE for a Keras file)
#   make test            the tests that take minutes: every stage end to end, with a small real model
#   make check           linters, types, import contracts, and all tests with their coverage
#   make bench           short benchmarks beside peers, compared with the ratios that are stored
#   make parity          all of tests/parity, on every photo
#   make torture         tests/torture in full: thousands of damaged files, dozens of kills, a server's faults
#   make lowest          the tests with the lowest versions that pyproject.toml allows, but for those with Keras
#   make docs            the documentation as a site in site/, every link checked; nothing is loaded from elsewhere
#   make dist            wheel and source archive in dist/, checked, installed elsewhere and tried
#   make reference       docs/reference and the list of decisions anew, after a change to options, JSON, docstrings or errors
#   make audit           known vulnerabilities of the locked packages; needs the index' advisory service
#   make lock            the lock files anew, after a change to pyproject.toml

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
LOWEST := .venv-lowest
BIN := $(VENV)/bin
DATA ?=
BACKBONE ?=
WEIGHTS ?=
DEMO := .demo
MEASURED :=
# Modules are compiled when they are first imported. Most never are, and pip takes long to compile them all.
INSTALL ?= $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
WORKERS := --numprocesses auto --maxprocesses 4 --dist loadfile
LOCK := --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	--python-version 3.11

# Commands start twice as fast from compiled modules, whatever the environment says; tests start hundreds.
export PYTHONDONTWRITEBYTECODE :=
# Sets have the same order in every run, so that a test which depends on it fails at once, or never.
export PYTHONHASHSEED ?= 0

.PHONY: demo test check lint types contracts coverage bench parity torture lowest dist audit docs reference format lock clean
.NOTPARALLEL:

# Memory that one run of a network has returned is used by the next: to get it from the system anew, and cleared,
# takes a quarter of the time of tests that ingest.
test coverage lowest parity torture: export MALLOC_ARENA_MAX := 1
test coverage lowest parity torture: export MALLOC_MMAP_THRESHOLD_ := 1000000000
test coverage lowest parity torture: export MALLOC_TRIM_THRESHOLD_ := 1000000000

demo: $(VENV)/.runtime $(VENV)/.plugin
	@$(BIN)/python scripts/demo.py "$(DEMO)" "$(DATA)" --backbone "$(BACKBONE)" --weights "$(WEIGHTS)"

test: $(VENV)/.test $(if $(MEASURED),$(VENV)/.coverage)
	$(if $(MEASURED),$(BIN)/coverage erase)
	$(BIN)/$(if $(MEASURED),coverage run,python) -m pytest $(WORKERS) -m "not slow"

check: lint types contracts coverage

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

# Of all tests, for each proves lines that no other does. With MEASURED=yes, `make test` measures too, and what
# it has run is not run again.
coverage: $(VENV)/.dev
	$(if $(MEASURED),,$(BIN)/coverage erase)
	$(BIN)/coverage run -m pytest $(WORKERS) $(if $(MEASURED),-m slow)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# No part of `make check`: what a machine does beside it changes what it measures.
bench: $(VENV)/.dev
	$(BIN)/python benchmarks/bench.py

parity: $(VENV)/.dev
	$(BIN)/pytest tests/parity --all-photos

torture: $(VENV)/.dev
	$(BIN)/pytest tests/torture tests/core/stores/test_faults.py --torture

lowest: $(LOWEST)/.test
	$(LOWEST)/bin/python -m pytest $(WORKERS)

dist: $(VENV)/.dev
	$(BIN)/python scripts/dist.py dist

# Strict: a package that could not be looked up is a failure, for nothing is known of it.
audit: $(VENV)/.dev
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
		--requirement requirements.lock --requirement requirements-dev.lock

# Not --quiet, with which MkDocs counts no warnings, and is not strict.
docs: $(VENV)/.dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "site/index.html is ready; with its search: $(BIN)/python -m http.server --directory site"

reference: $(VENV)/.dev
	$(BIN)/python scripts/reference.py
	$(BIN)/python scripts/notebook.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The runtime alone is what a user needs; what tests need, and then what checks need, is added in the same place.
$(VENV)/.runtime: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lookalike needs Python 3.11 or newer; name one with: make PYTHON=python3.11")'
	@echo "preparing $(VENV): downloading and installing what requirements.lock pins"
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) --require-hashes --requirement requirements.lock
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

# OpenVINO's plugin in its locked version, only for processors that gain by it.
$(VENV)/.plugin: requirements-dev.lock $(VENV)/.runtime
	@if $(BIN)/python -c 'import sys; from lookalike_core.processor import gains_by_openvino; sys.exit(not gains_by_openvino())'; then \
		echo "This processor computes in bfloat16: installing OpenVINO's plugin, which is several times as fast on it."; \
		sed -n '/^onnxruntime-ep-openvino==/,/[^\\]$$/p' requirements-dev.lock > $(VENV)/plugin.txt; \
		$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement $(VENV)/plugin.txt \
			|| echo "It cannot be installed; going on without it."; \
	fi
	@touch $@

$(VENV)/.test: requirements-test.lock $(VENV)/.runtime
	$(INSTALL) --require-hashes --requirement requirements-test.lock
	@touch $@

# Of what checks need, what measures alone.
$(VENV)/.coverage: requirements-dev.lock $(VENV)/.test
	awk '/^[^ ]/ { wanted = /^coverage==/ } wanted' requirements-dev.lock > $(VENV)/coverage.lock
	$(INSTALL) --no-deps --require-hashes --requirement $(VENV)/coverage.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(INSTALL) --require-hashes --requirement requirements-dev.lock
	@touch $@

# What is named in pyproject.toml as old as it may be, and what that brings along as new as it may be. Without Keras, of
# which TensorFlow sets the bounds.
$(LOWEST)/.test: pyproject.toml $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST) --resolution lowest-direct --group build --group test --group check --editable .
	@touch $@

lock: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile $(LOCK) --group build --group dev pyproject.toml --output-file requirements-dev.lock
	$(BIN)/uv pip compile $(LOCK) --group build --group test --constraint requirements-dev.lock pyproject.toml \
		--output-file requirements-test.lock
	$(BIN)/uv pip compile $(LOCK) --group build --constraint requirements-dev.lock pyproject.toml \
		--output-file requirements.lock

clean:
	rm -rf $(VENV) $(LOWEST) $(DEMO) site .coverage .coverage.*
