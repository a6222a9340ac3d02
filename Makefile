# The whole life of a working copy, on a bare Debian 12 or any Linux with Python 3.11: `make` says what there is.
# Every target installs what it needs; as root that includes Debian's RabbitMQ and PostgreSQL for the tests.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
BIN := .venv/bin
LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-annotate --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help setup demo test faults check format bench lock clean

help:  ## say what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.runtime  ## a virtual environment in .venv with the locked libraries and the command `kennisgeving`

demo: setup  ## everything on this machine, no servers needed: sample notices to four local creditors, and their answers
	$(BIN)/kennisgeving demo --once

test: .venv/.dev  ## every test, against a real RabbitMQ and PostgreSQL that the tests start and stop themselves
	@.ci/servers
	$(BIN)/python -m pytest -q -n auto --dist worksteal $(ARGS)

faults: .venv/.dev  ## break everything that can break, for most of an hour, and write docs/guarantee-report.md; F=F1 for one
	@.ci/servers faults
	$(BIN)/python -m tests.faults $(F) $(ARGS)

check: .venv/.dev  ## lint, format, types, import order
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: .venv/.dev  ## mend what ruff can mend by itself
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: .venv/.dev  ## the speed of the gateway beside a bare program that does the same and keeps nothing safe
	@.ci/servers
	$(BIN)/python -m bench

lock: .venv/.dev  ## choose versions anew and lock them by hash in requirements*.txt
	$(LOCK) -o requirements.txt pyproject.toml
	$(LOCK) -o requirements-build.txt --group build
	$(LOCK) -o requirements-dev.txt --group dev -c requirements.txt -c requirements-build.txt pyproject.toml

clean:  ## remove what was made: the virtual environment and the caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

.venv/bin/python:
	@.ci/python $(PYTHON)
	$(PYTHON) -m venv .venv

# The hashes of requirements-build.txt hold for what builds the package too, hence --no-build-isolation.
.venv/.runtime: .venv/bin/python requirements.txt requirements-build.txt pyproject.toml
	$(BIN)/python -m pip install -qq --require-hashes -r requirements.txt -r requirements-build.txt
	$(BIN)/python -m pip install -qq --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: .venv/.runtime requirements-dev.txt
	$(BIN)/python -m pip install -qq --require-hashes -r requirements-dev.txt
	@touch $@
