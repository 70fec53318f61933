# `make` lists the targets. Needs Python 3.11 or newer and nothing else.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# The first Python that runs and is new enough; a name alone may be an empty shim.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
MANAGE := DATABASE_URL=sqlite://:memory: DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python manage.py

RUN_LOCKS := requirements/base.txt requirements/redis.txt
TEST_LOCKS := $(RUN_LOCKS) requirements/test.txt requirements/lint.txt
LOCKS := bootstrap base redis test lint browser pg

CHROMIUM := $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

# uv where it can be installed, else pip; both check every hash.
install = $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes $(1) 2>/dev/null \
	|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes $(1)

.PHONY: help demo test lint faults crash simulate bench coverage screenshots lock clean

help: ## List the targets
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: .venv/.run ## Start everything on this machine with sample data (PORT=8000, RESET=1)
	@exec env -u DATABASE_URL DEMO=1 ENV_FILE=/dev/null $(BIN)/python manage.py demo $(if $(PORT),--port $(PORT)) $(if $(filter-out 0,$(RESET)),--reset)

test: lint ## Lint, then the whole suite on SQLite and on PostgreSQL
	@$(BIN)/python -m tests.run

lint: .venv/.test ## Style, types, direction of imports, missing migrations
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-logo
	@$(MANAGE) makemigrations --check --dry-run
	@$(MANAGE) check --fail-level WARNING

faults: .venv/.test ## Every fault in every combination, in minutes (CASE=..., PROVIDER=..., FAULT=... for some; DATABASE=postgresql; PATIENCE=3)
	@$(BIN)/python -m tests.faults $(if $(CASE),--case $(CASE)) $(if $(PROVIDER),--provider $(PROVIDER)) $(if $(FAULT),--fault $(FAULT)) $(if $(DATABASE),--database $(DATABASE)) $(if $(PATIENCE),--patience $(PATIENCE))

crash: .venv/.test ## Kill, freeze and crash real processes at random for minutes (N=200, SEED=1, MINUTES=20)
	@$(BIN)/python -m tests.crash $(if $(N),--kills $(N)) $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))

simulate: .venv/.test ## Scenarios of the engine with a made-up provider and clock (N=1000, SEED=1, JOBS=2; ONLY=... tells one)
	@$(BIN)/python -m tests.simulator $(if $(N),--scenarios $(N)) $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS)) $(if $(ONLY),--only $(ONLY))

bench: .venv/.test ## Measure everything against baselines that run beside it (INVOICES=1000000, ONLY=search,drain, DATABASE=sqlite, JSON=figures.json)
	@$(BIN)/python -m tests.bench $(if $(INVOICES),--invoices $(INVOICES)) $(if $(ONLY),--only $(ONLY)) $(if $(DATABASE),--database $(DATABASE)) $(if $(JSON),--json $(JSON))

coverage: .venv/.test ## Which lines the suite does not reach (SQLite)
	@$(BIN)/python -m tests.run --only sqlite --cov --cov-report=term

screenshots: .venv/.test ## Pictures of the main pages of a fresh demo in var/screenshots (README=1 renews those of the README)
	@$(BIN)/python -m tests.browser.chromium
	@$(BIN)/python -m tests.browser.screenshots $(if $(README),--readme)

lock: .venv/.run ## Compile requirements/*.in to hashed locks, without any index address
	@cd requirements && for name in $(LOCKS); do \
		env -u UV_INDEX -u UV_DEFAULT_INDEX -u UV_FIND_LINKS ../$(BIN)/uv pip compile --quiet --no-config --universal \
		--generate-hashes --no-header --python-version 3.11 $(LOCK_ARGS) $$name.in -o $$name.txt || exit 1; done

clean: ## Remove everything that was built, and the demo's data
	rm -rf .venv var staticfiles htmlcov .coverage .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.python: requirements/bootstrap.txt
	@test -n "$(PYTHON)" || { echo "Annul needs Python 3.11 or newer, and none was found; name one with: make PYTHON=/path/to/python3"; exit 1; }
	@echo "building .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv || { echo "python3 -m venv failed; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt \
		2>/dev/null || echo "uv cannot be installed here; pip does the work, a little slower"
	@touch $@

.venv/.run: .venv/.python $(RUN_LOCKS)
	@$(call install,$(RUN_LOCKS:%=-r %))
	@touch $@

.venv/.test: .venv/.python $(TEST_LOCKS) requirements/pg.txt requirements/browser.txt
	@$(call install,$(TEST_LOCKS:%=-r %))
	@$(BIN)/python tests/postgres_server.py || { $(call install,-r requirements/pg.txt); } \
		|| echo "no PostgreSQL binaries here and none to install; its tests will be skipped"
	@if [ -n "$(CHROMIUM)" ]; then $(call install,-r requirements/browser.txt); fi || true
	@touch $@ .venv/.run
