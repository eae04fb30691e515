# PYTHON=/path/to/python chooses the interpreter that .venv is made with.
SHELL := /bin/sh
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin/python
READY := $(VENV)/.ready
PIP := $(BIN) -m pip --disable-pip-version-check -qq
CANDIDATES := $(or $(PYTHON),python3.13 python3.12 python3.11 python3.10 python3 python)

.DEFAULT_GOAL := help
.PHONY: help venv test chaos coverage demo gallery console bench lint format package clean docs docs-serve

help:
	@echo "make test    run the tests, in parallel"
	@echo "make coverage  run the tests and show what they cover"
	@echo "make chaos   check what is promised while servers, links and clients fail; 20 minutes"
	@echo "make demo    run examples/quickstart.py on an embedded NATS server"
	@echo "make gallery start the photo service of examples/gallery, to look at in a browser"
	@echo "make console show buckets and subscribers at work in a browser"
	@echo "make docs    build the documentation into site/ (make docs-serve shows it)"
	@echo "make bench   measure beside other clients; a quarter of an hour on a quiet machine"
	@echo "make lint    check style, format and types"
	@echo "make format  apply the format and the safe fixes"
	@echo "make package build the wheel and the sdist, into dist/"
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

# WORKERS=0 runs them one after the other; ARGS are pytest's.
WORKERS ?= auto
PYTEST := pytest -n $(WORKERS) --dist worksteal $(ARGS)

# What has failed, once more and one after the other: on a busy machine a test that waits for
# a server or a browser may not get its turn in time. What fails twice, fails.
AGAIN := pytest --last-failed --last-failed-no-failures none --tb=short -rfE

test: $(READY)
	$(BIN) -m $(PYTEST)

coverage: $(READY)
	$(BIN) -m coverage erase
	$(BIN) -m coverage run -m $(PYTEST) || \
		{ echo "==> once more, what has failed:"; $(BIN) -m coverage run -m $(AGAIN); }
	$(BIN) -m coverage combine --quiet
	$(BIN) -m coverage report
	$(BIN) .ci/branches.py 90

# SECONDS are for all SEEDS together; each is a run on a cluster of its own.
SEEDS ?= 1 2 3 4 5 6 7 8 9 10
SECONDS ?= 1200
# A mend to do without, to see that it is missed: tests/production/chaos/reverts.py.
REVERT ?=
chaos: $(READY)
	$(BIN) -m tests.production.chaos --seconds $(SECONDS) $(if $(REVERT),--revert $(REVERT)) $(SEEDS)

demo: $(READY)
	$(BIN) examples/quickstart.py

# GALLERY are its options, as in GALLERY='--port 9000 --data photos'.
GALLERY ?=
gallery: $(READY)
	$(BIN) -m examples.gallery --samples $(GALLERY)

# CONSOLE are its options, as in CONSOLE='--port 9000 --read-only'.
CONSOLE ?=
console: $(READY)
	$(BIN) examples/console.py $(CONSOLE)

bench: $(READY)
	$(BIN) -m benchmarks

# Installed on demand: nobody pays for it who only runs the tests.
$(VENV)/.docs: $(READY)
	@echo "Installing what builds the documentation ..."
	@$(PIP) install --group docs
	@touch $@

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN) -m mkdocs build --strict

docs-serve: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN) -m mkdocs serve

lint: $(READY)
	$(BIN) -m ruff check
	$(BIN) -m ruff format --check
	$(BIN) -m mypy
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" basedpyright --project tests/typing

format: $(READY)
	$(BIN) -m ruff check --fix
	$(BIN) -m ruff format

package: $(READY)
	rm -rf dist
	$(BIN) -m build

clean:
	rm -rf $(VENV) $(VENV)-3.* build dist site htmlcov .coverage .coverage.* coverage.xml
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
