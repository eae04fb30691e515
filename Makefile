# PYTHON=/path/to/python chooses the interpreter that .venv is made with.
SHELL := /bin/sh
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin/python
READY := $(VENV)/.ready
PIP := $(BIN) -m pip --disable-pip-version-check -qq
CANDIDATES := $(or $(PYTHON),python3.13 python3.12 python3.11 python3.10 python3 python)

.DEFAULT_GOAL := help
.PHONY: help venv test demo bench lint format clean

help:
	@echo "make test    run the tests"
	@echo "make demo    run examples/quickstart.py on an embedded NATS server"
	@echo "make bench   measure beside other clients; a quarter of an hour on a quiet machine"
	@echo "make lint    check style, format and types"
	@echo "make format  apply the format and the safe fixes"
	@echo "make clean   remove .venv, caches and build output"

venv: $(READY)

# A candidate is run rather than looked up: a pyenv shim exists for every version that is
# installed and fails for those that are not activated, and Debian's python3 may lack venv.
$(READY): pyproject.toml
	@set -e; \
	usable='import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 10))'; \
	if ! $(BIN) -c "$$usable" >/dev/null 2>&1; then \
		found=; \
		for candidate in $(CANDIDATES); do \
			if "$$candidate" -c "$$usable" >/dev/null 2>&1; then found=$$candidate; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "error: no Python >= 3.10 with the venv module among: $(CANDIDATES)" >&2; \
			echo "       Install one (on Debian: apt install python3 python3-venv), or name it:" >&2; \
			echo "       make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; \
			exit 1; \
		fi; \
		echo "Making $(VENV) with $$("$$found" --version) ..."; \
		"$$found" -m venv --clear $(VENV); \
	fi
	@echo "Installing the dependencies ..."
	@$(PIP) install --upgrade 'pip>=25.1'
	@$(PIP) install --editable . --group dev
	@touch $@

test: $(READY)
	$(BIN) -m pytest

demo: $(READY)
	$(BIN) examples/quickstart.py

bench: $(READY)
	$(BIN) -m benchmarks

lint: $(READY)
	$(BIN) -m ruff check
	$(BIN) -m ruff format --check
	$(BIN) -m mypy

format: $(READY)
	$(BIN) -m ruff check --fix
	$(BIN) -m ruff format

clean:
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* coverage.xml
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
