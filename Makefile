# Everything a developer or a build machine runs; tools/setup does the set-up behind it.
#
#   make PYTHON=/path/to/python3   another Python than the one tools/setup finds
#   make test ARGS="-k outbox -x"  more words for pytest
#   SKERRY_DATA=DIR make test      with the tests that need real footage

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

PYTHON ?= $$(tools/setup python)
PYTHON310 := $(shell tools/setup python 3.10 2>/dev/null)
VENV := .venv
FLIES := .venv-3.10
ARGS ?=
OUT ?= demo-out

.PHONY: help demo test check format wire clean system

help:  ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.stamp-demo  ## the whole of Skerry on this machine, in minutes: train, fly, alert
	@$(VENV)/bin/skerry demo --out $(OUT) $(ARGS)

test: $(VENV)/.stamp-dev $(if $(PYTHON310),$(FLIES)/.stamp) system  ## every test, on 3.10 too where there is one, and from the built wheel
ifneq ($(PYTHON310),)
	@echo "what flies, on Python 3.10:"
	@$(FLIES)/bin/python -m pytest $(ARGS)
else
	@echo "no Python 3.10 here: what flies is tested on this Python only"
endif
	@echo "everything:"
	@$(VENV)/bin/python -m pytest $(ARGS)

check: $(VENV)/.stamp-dev  ## lint, format, types and the fast tests
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/python -m pytest -n auto -m "not slow and not broker and not data" $(ARGS)

format: $(VENV)/.stamp-dev  ## put the code in its canonical form
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

wire: $(VENV)/.stamp-dev  ## write docs/wire anew from edge/events.py
	@$(VENV)/bin/skerry schema --out docs/wire

clean:  ## remove what was made here, the environments included
	@rm -rf $(VENV) $(FLIES) build dist demo-out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

system:
	@tools/setup system mosquitto:mosquitto openssl:openssl ffmpeg:ffmpeg systemd-analyze:systemd chromium:chromium

$(VENV)/.stamp-demo: pyproject.toml
	@tools/setup venv $(VENV) "$(PYTHON)" demo
	@touch $@

# dev includes demo, so that after `make test` nothing is left to install for `make demo`
$(VENV)/.stamp-dev: pyproject.toml
	@tools/setup venv $(VENV) "$(PYTHON)" dev
	@touch $(VENV)/.stamp-demo $@

# No PyTorch here: this is what a drone has, and the tests.
$(FLIES)/.stamp: pyproject.toml
	@tools/setup venv $(FLIES) "$(PYTHON310)" drone,ground,test
	@touch $@
