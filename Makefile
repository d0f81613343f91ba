# Needs make and Python 3.11 or newer; everything else goes into $(VENV).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# What runs on which other Python: the newest gets all that `make test` runs.
OTHERS := 3.13:test 3.12:test-quick
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
# The tests start hundreds of Pythons, and each would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := check
.PHONY: check demo fmt lint types imports test test-room long examples docs bench bench-compare measures pictures screenshots vectors dev test-quick test-others clean

check: lint types imports test ## Everything that a change must pass

demo: $(VENV)/.serve ## The gateway and its page over a sample home; ARGS="--port 9000" and the like
	@echo "Making a sample home; two processes write to it, and 24 tabs poll it."
	@$(BIN)/hermes-cache serve --demo $(ARGS)

fmt: $(VENV)/.dev ## Put the code into its form
	@$(BIN)/ruff format --quiet
	@$(BIN)/ruff check --quiet --fix

lint: $(VENV)/.dev
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check

types: $(VENV)/.dev
	@$(BIN)/mypy

imports: $(VENV)/.dev
	@$(BIN)/lint-imports --no-cache --no-logo

# Three at a time on two cores, because many of these tests wait for processes and locks; each worker begins with
# whole files, because the tests of a file share a browser or a server.
test: $(VENV)/.dev ## The suite, but for what takes minutes
	@$(BIN)/pytest --quiet -n 3 --dist worksteal -m "not long"

test-room: $(VENV)/.dev ## The tests of one room alone; ROOM=journal and the like
	@files=$$($(BIN)/python -m tests.rooms $(ROOM)) \
		&& $(BIN)/pytest --quiet -n 3 --dist worksteal -m "not long" $$files

long: $(VENV)/.dev ## What takes minutes
	@$(BIN)/pytest --quiet -n 2 -m long

examples: $(VENV)/.dev ## Each example, held against its expected output
	@for example in examples/[0-9]*.py; do \
		echo "$$example"; $(BIN)/python "$$example" | diff "$${example%.py}.out" - || exit 1; \
	done

docs: $(VENV)/.docs ## The site, in site/; a warning is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

bench: $(VENV)/.bench ## Every budget, measured, as one table; ARGS=--record writes docs/benchmarks.md
	@$(BIN)/pytest --quiet --benchmark-enable --benchmark-quiet -p no:randomly tests/benchmarks $(ARGS)

dev: $(VENV)/.dev

bench-compare: $(VENV)/.bench ## This tree against another commit, in turns, as one table; BASE=COMMIT, ARGS="-k hit"
	@PYTHONPATH=. $(BIN)/python -m tests.benchmarks.compare $(BASE) $(ARGS)

measures: $(VENV)/.dev ## Files, lines, hops of a read and a publish, modules that a change touches; TREES="COMMIT ."
	@$(BIN)/python -m tests.measures $(TREES)

pictures: $(VENV)/.dev ## The picture of the doctor, made anew
	@$(BIN)/python -m tests.pictures

screenshots: $(VENV)/.dev ## The pictures of the page, made anew from a demo; needs Chromium
	@$(BIN)/python -m tests.screenshots

vectors: $(VENV)/.dev ## The vectors that programs which apply patches are held to, made anew
	@$(BIN)/python -m tests.property.patch_vectors

test-quick: $(VENV)/.dev ## The part of the suite that takes seconds
	@$(BIN)/pytest --quiet -n 2 -m "not long" tests/unit tests/property

test-others: ## The suite on Python 3.13, and its quick part on 3.12; ONLY=dev makes their environments alone
	@for each in $(OTHERS); do \
		version=$${each%%:*}; goal=$${each#*:}; \
		python=$$(.ci/find-python $$version) || { echo "Python $$version: not here, left out"; continue; }; \
		echo "Python $$version: $$python"; \
		$(MAKE) --no-print-directory VENV=.venv-$$version PYTHON="$$python" $(or $(ONLY),$$goal) || exit 1; \
	done

clean: ## Everything that can be made again
	@rm -rf .venv .venv-* site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip learned to read dependency groups in 25.1.
$(VENV)/.pip: pyproject.toml
	@echo "Making an environment in $(VENV), with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.serve: $(VENV)/.pip
	@echo "Installing the package and what its gateway needs: about a minute at the first time ..."
	@$(PIP) install --editable ".[serve]"
	@touch $@

$(VENV)/.dev: $(VENV)/.serve
	@$(PIP) install --group dev
	@touch $@

$(VENV)/.docs: $(VENV)/.dev
	@$(PIP) install --group docs
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@$(PIP) install --group bench
	@touch $@
