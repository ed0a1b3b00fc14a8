# `make demo` and `make test` are all a newcomer needs; the rest is for who works on re2tal.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 2

.PHONY: demo test test-slow stress lint check install format docs clean

demo: $(STAMP)
	$(BIN)/re2tal demo

# One thread for each of the test processes, or they would wait for each other.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) -m "not slow"

# What takes half a minute and more, each with the reason beside its mark: five minutes in all.
test-slow: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) -m slow

# The long versions of what docs/reliability.md promises.
stress: $(STAMP)
	for program in stress/*.py; do echo "== $$program"; $(BIN)/python $$program || exit 1; done

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test test-slow

install: $(STAMP)

# The stamp is newer than pyproject.toml exactly when what it names is installed.
$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev,plots,tensorboard,works,zoo]"
	touch $(STAMP)

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The references that come out of the code.
docs: $(STAMP)
	$(BIN)/python tools/write_reference.py docs

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis
