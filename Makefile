# Tidemill's commands. Each sets up what it needs on a machine that has only Python 3.11 or 3.12, git and make.
#
#   make demo        a model learns from a live Kafka stream and answers scoring requests, on real flights
#   make demo-graph  models learn on live graphs: delays that spread, and (with the data folder) who trusts whom
#   make demo-perception  a model doubts, people answer, a better one goes live: images, labels, training (adds torch)
#   make test        all tests that fit in a few minutes
#   make test-slow   chaos, soak and full-data proofs
#   make check       lint, types, import rules, house rules
#   make bench       benchmarks against named peers (BENCH=name for one)
#   make flink       adds Flink, for `tidemill up --flink`; make faust adds Faust;
#                    make torch adds graph networks and training (5 GB: torch brings CUDA's libraries)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BENCH ?=
ARGS ?=
PYTEST := $(BIN)/python -m pytest
# Those that `make test` skips, for want of torch.
TORCH_TESTS := $(shell grep -rl 'importorskip.*torch' tests) tests/graph/nn

.PHONY: demo demo-graph demo-perception test test-slow check bench setup setup-dev flink faust torch lock schemas clean

demo: setup
	$(BIN)/tidemill demo --home .tidemill-demo --fresh $(ARGS)

demo-graph: setup
	$(BIN)/tidemill demo-graph --home .tidemill-graph --fresh $(ARGS)

demo-perception: setup torch
	$(BIN)/tidemill demo-perception --home .tidemill-perception --fresh $(ARGS)

# Three at a time (half of it is waiting for brokers), by file, on one stack (tests/conftest.py); ARGS=-n0 runs them one by one.
test: setup-dev
	$(PYTEST) -m "not slow" -n 3 --dist loadgroup --no-loadscope-reorder $(ARGS)

test-slow: setup-dev torch
	$(PYTEST) -m slow --timeout 3600 $(ARGS)
	$(PYTEST) -n0 -m "not slow" --timeout 3600 $(TORCH_TESTS) $(ARGS)

check: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) -q tests/house

bench: setup-dev
	$(BIN)/python -m benchmarks $(BENCH)

setup: $(VENV)/core.done
setup-dev: $(VENV)/dev.done
flink faust torch: %: $(VENV)/%.done

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 13) else f"Tidemill needs Python 3.11 or 3.12; {sys.executable} is {v[0]}.{v[1]}. Run: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/core.done: requirements/core.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r requirements/core.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/dev.done: requirements/dev.lock $(VENV)/core.done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.lock
	touch $@

$(VENV)/flink.done $(VENV)/faust.done $(VENV)/torch.done: $(VENV)/%.done: requirements/%.lock $(VENV)/core.done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/$*.lock
	touch $@

# Needs uv on PATH; not part of any other target. One version of everything, whichever extras are installed together.
PIN := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header
COMPILE := $(PIN) --overrides requirements/overrides.txt pyproject.toml
lock:
	$(COMPILE) --extra dev --extra faust --extra flink -o requirements/dev.lock
	$(COMPILE) -c requirements/dev.lock -o requirements/core.lock
	$(COMPILE) -c requirements/dev.lock --extra faust -o requirements/faust.lock
	$(COMPILE) -c requirements/dev.lock --extra flink -o requirements/flink.lock
	$(COMPILE) -c requirements/dev.lock --extra torch -o requirements/torch.lock
	$(foreach peer,quix bytewax graph labels speech label_studio tensorflow,$(PIN) benchmarks/peers/$(peer).in -o benchmarks/peers/$(peer).lock &&) true

schemas: setup-dev
	$(BIN)/python -m tidemill_app.schemas

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
