# `make demo` and `make test` are all a newcomer needs; the rest is for who works on re2tal.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
THREADS ?= 2

.PHONY: demo test check install format clean

demo: $(STAMP)
	$(BIN)/re2tal demo

test: $(STAMP)
	$(BIN)/python -m pytest -n $(THREADS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n $(THREADS)

install: $(STAMP)

# The stamp is newer than pyproject.toml exactly when what it names is installed.
$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev,plots]"
	touch $(STAMP)

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis
