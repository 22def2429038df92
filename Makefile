# Everything from a fresh clone, with Python (3.10 or newer) and pip.  `make help` lists the targets.
#
# What is installed is remembered by stamp files in the virtual environment, so that a second `make`
# installs nothing; an edit of pyproject.toml or constraints.txt makes it install again.

PYTHON ?= python3
VENV ?= .venv
WHEEL_VENV ?= .venv-wheel
# For another build of torch than pip's default, e.g. TORCH_PIP_ARGS="--index-url ...".
TORCH_PIP_ARGS ?=
# One process per core, each with one thread: faster for many small molecules than the reverse.
PYTEST_ARGS ?= -n 2 --dist worksteal

BIN := $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check
SOURCES := $(shell find se3set_ase models -type f -not -path '*/__pycache__/*' 2>/dev/null)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo docs test test-slow lint format mypy pytest wheel-test install clean clean-all

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: $(VENV)/.installed  ## relax acetylacetone and run MD; writes demo-output/
	$(BIN)/python examples/demo.py

docs: $(VENV)/.docs  ## the documentation site, in site/
	$(BIN)/python -m mkdocs build --strict

test: lint wheel-test pytest  ## set up everything for the tests and run them all

test-slow: $(VENV)/.test  ## the tests that take minutes each, too
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --slow $(PYTEST_ARGS)

pytest: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.dev  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev  ## rewrite the sources as `make lint` wants them
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

install: $(VENV)/.installed  ## the package, editable, in $(VENV)

wheel-test: $(WHEEL_VENV)/.tested  ## a wheel, built and installed where no compiler is, has its models

clean:  ## remove what was built and written, but not the virtual environments
	rm -rf build dist site demo-output .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find se3set_ase research tests examples -type d -name __pycache__ -prune -exec rm -rf {} +

clean-all: clean  ## the virtual environments too
	rm -rf $(VENV) $(WHEEL_VENV)

# torch first and alone, at the version of constraints.txt: as a dependency of something else pip
# would take the newest, which on some platforms brings gigabytes of CUDA libraries.
$(VENV)/.torch: constraints.txt
	$(PYTHON) .ci/check_python.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt $(TORCH_PIP_ARGS) torch
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(PIP) install -c constraints.txt -e '.[label,train,torch-sim,ipi,dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(PIP) install -c constraints.txt -e '.[docs]'
	@touch $@

$(VENV)/.test: $(VENV)/.dev .ci/install_scatter
	bash .ci/install_scatter $(BIN)/python constraints.txt
	@touch $@

$(WHEEL_VENV)/.torch: constraints.txt
	$(PYTHON) .ci/check_python.py
	$(PYTHON) -m venv --clear $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python -m pip --disable-pip-version-check install \
		--only-binary :all: -c constraints.txt $(TORCH_PIP_ARGS) torch
	@touch $@

$(WHEEL_VENV)/.tested: $(WHEEL_VENV)/.torch $(VENV)/.dev pyproject.toml README.md LICENSE \
		.ci/wheel_test .ci/check_wheel.py $(SOURCES)
	bash .ci/wheel_test $(BIN)/python $(WHEEL_VENV)/bin/python constraints.txt
	@touch $@
