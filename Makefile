# A target's help is the comment behind it; `make help` prints them.
# Paths are relative on purpose: a checkout may lie below a folder with spaces in its name.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PY := .venv/bin/python
LOCKFLAGS := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --no-input --root-user-action ignore

# The newest of the usual names that is at least 3.11.
FIND_PYTHON = for p in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14; do \
  command -v "$$p" >/dev/null 2>&1 && "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$p" && break; done

.PHONY: help
help: ## say what each target does
	@grep -hE '^[a-z0-9-]+:.*## ' Makefile | sed -E 's/^([a-z0-9-]+):.*## /  make \1~/' | column -t -s '~' 2>/dev/null \
	  || grep -hE '^[a-z0-9-]+:.*## ' Makefile

.venv/bin/python:
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then echo "automon needs Python 3.11 or newer with venv (Debian: apt install python3 python3-venv); or name one: make PYTHON=/path/to/python3.11" >&2; exit 1; fi; \
	echo "making .venv with $$("$$python" --version)"; "$$python" -m venv .venv

.venv/.run: requirements.lock pyproject.toml client/pyproject.toml | .venv/bin/python
	@echo "installing what automon needs (once; later starts need no network)"
	@$(PIP) --require-hashes --only-binary :all: -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable . --editable ./client
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.run
	@echo "installing what the tests need"
	@$(PIP) --require-hashes --only-binary :all: -r requirements-dev.lock
	@touch $@

.PHONY: install-dev
install-dev: .venv/.dev ## make the environment with everything that tests and lints need

.PHONY: lock
lock: ## resolve the dependencies anew and write both lock files (needs uv)
	uv pip compile pyproject.toml --extra embedded --group build $(LOCKFLAGS) --output-file requirements.lock
	uv pip compile pyproject.toml --extra embedded --group dev $(LOCKFLAGS) --output-file requirements-dev.lock
