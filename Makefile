# Every target installs what it lacks and does nothing when nothing changed (stamps in build/).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
BIN := .venv/bin
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
DEB := dist/kvorum_$(VERSION)_amd64.deb
SOURCES := $(shell find src -name '*.py' -o -name '*.json' -o -path 'src/*.bash')
PACKAGING := $(shell find packaging -type f -not -path '*/__pycache__/*')
UI := $(if $(wildcard ui/package.json),$(shell find ui -type f -not -path 'ui/node_modules/*'),)
PAGE := $(if $(wildcard ui/package.json),src/kvorum/server/page/index.html,)
TESTS := $(wildcard tests/unit tests/sim tests/lab tests/ui)

# A second lab beside the first: make lab LAB_DIR=/var/tmp/lab PAGE_PORT=8106
PAGE_PORT ?= 8006
LAB := $(BIN)/kvorum lab$(if $(LAB_DIR), --dir $(LAB_DIR))
BENCHES := migration commands memory guests store cluster
export KVORUM_LAB_DIR := $(LAB_DIR)

.PHONY: lab test unit lint ci deb page bench soak soak-store clean packages requirements
.DEFAULT_GOAL := lab

lab: build/packages build/venv $(DEB)
	@if ! $(LAB) status >/dev/null 2>&1; then $(LAB) up --page-port $(PAGE_PORT); else $(LAB) status; fi
	@echo "Now see a VM move while it runs:  $(LAB) demo"

test: build/packages build/venv $(PAGE) $(DEB)
	$(BIN)/python tests/lanes.py $(TESTS)

unit: build/venv
	$(BIN)/pytest tests/unit -m "not slow"

lint: build/venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

ci:
	@$(MAKE) --no-print-directory --jobs=2 lint page deb
	@$(MAKE) --no-print-directory test

deb: $(DEB)

page: $(PAGE)

# In this order: the first forms the cluster that the others look at.
bench: build/packages build/venv $(DEB)
	@$(LAB) status >/dev/null 2>&1 || $(LAB) up --page-port $(PAGE_PORT)
	@for name in $(BENCHES); do echo "bench/$$name.py" >&2; $(BIN)/python "bench/$$name.py"; done

soak: build/packages build/venv $(PAGE) $(DEB)
	KVORUM_SOAK=1 $(BIN)/pytest tests/sim tests/lab tests/unit/described --timeout=14400

# The store alone: its simulation (SEEDS=, FIRST=), then real nodes (KVORUM_FAULTS_SEED= replays a walk).
SEEDS ?= 100000
FIRST ?= 0
soak-store: build/packages build/venv $(PAGE) $(DEB)
	$(BIN)/python bench/soak_store.py --seeds $(SEEDS) --first $(FIRST)
	KVORUM_SOAK=1 $(BIN)/pytest -s tests/lab/test_store_faults.py tests/lab/test_store_readers.py tests/lab/test_store_full.py

clean:
	rm -rf build dist src/kvorum/server/page ui/node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

requirements:
	packaging/refresh-requirements

packages: build/packages

build/packages: packaging/host-packages packaging/install-host-packages
	packaging/install-host-packages
	@mkdir -p build && touch $@

build/venv: requirements-dev.txt pyproject.toml packaging/requirements-build.txt | build/packages
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt -r packaging/requirements-build.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@mkdir -p build && touch $@

$(DEB): $(SOURCES) $(PACKAGING) requirements.txt pyproject.toml README.md $(PAGE) | build/packages build/venv
	$(BIN)/python packaging/build_deb.py

ui/node_modules/.stamp: ui/package.json ui/package-lock.json | build/venv
	cd ui && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --no-audit --no-fund --loglevel=error
	@touch $@

src/kvorum/server/page/index.html: $(UI) ui/node_modules/.stamp
	cd ui && PATH="$(CURDIR)/$(BIN):$$PATH" npm run build
	@touch $@
