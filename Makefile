# The one definition of how this project is built, checked and shown; .ci/run calls it.
#
#   make demo            ten neighbours of an image, from nothing (make demo DATA=~/Pictures for your own)
#   make test            the tests that take minutes: every stage end to end, with a small real model
#   make check           linters, types, import contracts, and all tests with their coverage
#   make parity          all of tests/parity, on every photo
#   make torture         tests/torture in full: thousands of damaged files, dozens of kills, a server's faults
#   make lowest          the tests with the lowest versions that pyproject.toml allows, but for those with Keras
#   make reference       docs/reference anew, after a change to options, JSON, docstrings or errors
#   make audit           known vulnerabilities of the locked packages; needs the index' advisory service
#   make lock            the lock files anew, after a change to pyproject.toml

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
LOWEST := .venv-lowest
BIN := $(VENV)/bin
DATA ?=
DEMO := .demo
WORKERS := --numprocesses auto --maxprocesses 4 --dist loadfile
LOCK := --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	--python-version 3.11

# Commands start twice as fast from compiled modules, whatever the environment says; tests start hundreds.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test check lint types contracts coverage parity torture lowest audit reference format lock clean
.NOTPARALLEL:

demo: $(VENV)/.runtime
	@$(BIN)/python scripts/demo.py "$(DEMO)" "$(DATA)"

test: $(VENV)/.test
	$(BIN)/python -m pytest $(WORKERS) -m "not slow"

check: lint types contracts coverage

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

# Of all tests, for each proves lines that no other does.
coverage: $(VENV)/.dev
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(WORKERS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

parity: $(VENV)/.dev
	$(BIN)/pytest tests/parity --all-photos

torture: $(VENV)/.dev
	$(BIN)/pytest tests/torture tests/core/stores/test_faults.py --torture

lowest: $(LOWEST)/.test
	$(LOWEST)/bin/python -m pytest $(WORKERS)

# Strict: a package that could not be looked up is a failure, for nothing is known of it.
audit: $(VENV)/.dev
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
		--requirement requirements.lock --requirement requirements-dev.lock

reference: $(VENV)/.dev
	$(BIN)/python scripts/reference.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The runtime alone is what a user needs; what tests need, and then what checks need, is added in the same place.
$(VENV)/.runtime: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lookalike needs Python 3.11 or newer; name one with: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: requirements-test.lock $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-test.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.lock
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
	rm -rf $(VENV) $(LOWEST) $(DEMO) .coverage .coverage.*
