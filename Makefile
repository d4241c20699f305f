# Needs Python 3.11 or 3.12 and nothing else; everything is installed into .venv.

PYTHON ?= python3.12 python3.11 python3
ARGS ?=
VENV := .venv/bin/python
# The lock files are complete, so nothing is resolved; what is never imported is never compiled.
PIP := $(VENV) -m pip install --quiet --no-input --disable-pip-version-check --require-hashes \
	--no-deps --no-compile
# Three processes, each with servers of its own: tests wait for something a third of their time, so
# this many keep two cores busy. What shares a costly start stays together, and what takes longest
# comes first (tests/conftest.py).
PYTEST := -m pytest -n 3 --dist loadscope --no-loadscope-reorder
# Runs a program that ends when make does, whatever ends make.
WITH_MAKE := exec $(VENV) -I -S hitl_project/parent_death.py --signal SIGTERM

# Where the environment says so, nothing compiled is kept, and with PIP's --no-compile each process
# would compile anew whatever it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test lint chaos fuzz bench soak dashboard screenshots

help: ## Say what there is to make
	@awk -F ': .*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

run: .venv/run.stamp ## Run everything on this machine, with a demo
	@$(WITH_MAKE) $(VENV) manage.py up

test: .venv/dev.stamp ## Run the tests; ARGS="..." goes to pytest
	@$(WITH_MAKE) $(VENV) $(PYTEST) $(ARGS)

lint: .venv/dev.stamp ## Check style, types and which package imports which
lint: export SECRET_KEY := for-the-type-checker-only
lint: export DATABASE_URL := postgresql://nobody@localhost/none
lint: export REDIS_URL := redis://localhost:6379/0
lint:
	@$(VENV) -m ruff check .
	@$(VENV) -m ruff format --check .
	@$(VENV) -m mypy .
	@.venv/bin/lint-imports --no-logo

chaos: .venv/dev.stamp ## Kill and break everything while workflows run; N=10000 for more, SEED=S to repeat
	@$(WITH_MAKE) $(VENV) -m tests.chaos $(if $(N),--runs $(N)) $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: .venv/dev.stamp ## Send inputs that nobody would, 20,000 of them; N=1000 for fewer, SEED=S to repeat
	@$(WITH_MAKE) $(VENV) -m tests.fuzz $(if $(N),--inputs $(N)) $(if $(SEED),--seed $(SEED)) $(ARGS)

bench: .venv/dev.stamp ## Measure everything beside its floor; SCALE=1000000 for more requests
	@$(WITH_MAKE) $(VENV) -m bench $(if $(SCALE),--scale $(SCALE)) $(ARGS)

soak: .venv/dev.stamp ## Load everything for an hour and see whether anything grows; MINUTES=N
	@$(WITH_MAKE) $(VENV) -m bench.soak $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

dashboard: .venv/dev.stamp ## Write Grafana's dashboard; ARGS="--documentation-url ADDRESS" for its links
	@$(VENV) -m deploy.dashboard $(ARGS)

screenshots: .venv/dev.stamp ## Retake the README's pictures from a demo; needs Chromium
	@$(WITH_MAKE) $(VENV) -m docs.pictures

.venv/run.stamp: requirements.lock
	$(create_venv)
	@echo "Installing what $< names into .venv; the first time takes about a minute"
	@$(PIP) -r $<
	@touch $@

# Holds all of requirements.lock as well.
.venv/dev.stamp: requirements-dev.lock
	$(create_venv)
	@echo "Installing what $< names into .venv; the first time takes about a minute"
	@$(PIP) -r $<
	@touch .venv/run.stamp $@

# A name on the PATH may be a shim for a version that is not installed, so each is tried.
define create_venv
@$(VENV) -c 'import pip' 2>/dev/null || { \
	for python in $(PYTHON); do \
		if "$$python" -c 'import ensurepip, ssl, sys, venv; sys.exit(sys.version_info[:2] not in {(3, 11), (3, 12)})' 2>/dev/null; then \
			echo "Making .venv with $$("$$python" --version)"; \
			exec "$$python" -m venv --clear .venv; \
		fi; \
	done; \
	echo "Needs Python 3.11 or 3.12 with its venv module, and none of these is one: $(PYTHON). Install it (on Debian and Ubuntu also python3-venv), or name it: make PYTHON=/path/to/python3.12 ..." >&2; \
	exit 1; \
}
endef
