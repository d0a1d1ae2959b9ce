# Everything a working copy needs: Python 3.11 or later and make. Each purpose has a virtual
# environment of its own under build/; a stamp in it makes the second run quick.

PYTHON ?= python3
NAME ?=
PYTEST_ARGS ?=
JOBS ?= 2
ENV := build/env

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench docs clean
.SECONDARY:

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

demo: $(ENV)/demo/.stamp ## Run the main job on real input, and show what the cache does
	$(ENV)/demo/bin/python -m demo

test: $(ENV)/dev/.stamp ## Run all tests, two side by side; more: make test JOBS=8
	$(ENV)/dev/bin/python -m pytest --hypothesis-profile=ci --numprocesses=$(JOBS) --dist=worksteal $(PYTEST_ARGS)

lint: $(ENV)/dev/.stamp ## Check style and types
	$(ENV)/dev/bin/ruff check .
	$(ENV)/dev/bin/ruff format --check .
	$(ENV)/dev/bin/mypy
	$(ENV)/dev/bin/pyright --pythonpath $(ENV)/dev/bin/python

bench: $(ENV)/bench/.stamp ## Compare backends and peers in one report, some minutes; or one: make bench NAME=hits
ifeq ($(NAME),)
	@mkdir -p build/bench
	$(ENV)/bench/bin/python -m mlcache bench --repetitions 6 --json build/bench/backends.json
	$(ENV)/bench/bin/python -m benchmarks hits answers keys offload --brief --with build/bench/backends.json \
		--json build/bench/peers.json --html build/bench/report.html
else
	$(ENV)/bench/bin/python -m benchmarks $(NAME)
endif

docs: $(ENV)/docs/.stamp ## Build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(ENV)/docs/bin/mkdocs build --strict

clean: ## Remove environments, caches and everything built
	rm -rf build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -type d -prune -exec rm -rf {} +

$(ENV)/demo/.stamp: EXTRAS := demo
$(ENV)/dev/.stamp: EXTRAS := test,lint
$(ENV)/bench/.stamp: EXTRAS := bench
$(ENV)/bench/.stamp: PIP_ARGS := --no-compile # of a gigabyte of peers only a part is ever imported
$(ENV)/docs/.stamp: EXTRAS := docs

$(ENV)/%/.stamp: pyproject.toml | $(ENV)/%/bin/python
	$(ENV)/$*/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --editable '.[$(EXTRAS)]'
	@touch $@

$(ENV)/%/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "mlcache needs Python 3.11 or later, and '$(PYTHON)' is not: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
		exit 1; }
	@echo "Creating $(ENV)/$*"
	@$(PYTHON) -m venv $(ENV)/$* || { \
		rm -rf $(ENV)/$*; \
		echo "Python could not create a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; \
		exit 1; }
