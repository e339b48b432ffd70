# Everything goes through .venv, made from nothing by `make setup`: Python 3.11 or newer is all it needs.
PYTHON ?= python3
BIN := .venv/bin
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
endif
UV := $(BIN)/uv

.PHONY: setup demo test test-all check docs format bench lock clean

setup: .venv/.ready

.venv/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q uv
	$(UV) pip install -q --python $(BIN)/python --compile-bytecode -r requirements.lock
	$(UV) pip install -q --python $(BIN)/python --compile-bytecode --no-deps -e .
	touch .venv/.ready

demo: setup
	$(BIN)/python examples/demo.py demo

# One process per core, one thread each: two that share a core's threads would only wait for each other.
test test-all: export OMP_NUM_THREADS = 1

test: setup
	$(BIN)/python -m pytest -q -n logical --dist loadfile -m "not slow"

test-all: setup
	$(BIN)/python -m pytest -q -n logical --dist loadfile

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

# Every warning is an error; the pages that are run are run by test-all.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: export OMP_NUM_THREADS = 1
bench: setup
	$(BIN)/python benchmarks/build.py
	$(BIN)/python benchmarks/decide.py
	$(BIN)/python benchmarks/dedup.py
	$(BIN)/python benchmarks/niqe.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/calibrate.py
	$(UV) pip install -q --python $(BIN)/python --no-deps imagecorruptions
	$(BIN)/python benchmarks/degrade.py
	$(BIN)/python benchmarks/flops.py
	$(BIN)/python benchmarks/models.py --compiled

lock: setup
	$(UV) pip compile -q --universal --python-version 3.11 pyproject.toml --extra all --extra dev -o requirements.lock

clean:
	rm -rf .venv demo build dist site
