# make demo    run the example, on a RabbitMQ if there is one, and see what happened
# make test    run all tests; test-matrix those that depend on it on RabbitMQ 3.10, 4.0 and 4.3 (Debian, root);
#              test-devbroker those of drivers, workers and clients on the devbroker in place of RabbitMQ
# make bench   measure amqtask beside its peers; bench-quick in under three minutes
# make check   formatting, lint, types, and who may import whom

VENV ?= .venv
RUN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v "$$p"; break; }; done)

# Most tests wait for a broker or for processes; each of these has a private broker.
TEST_PROCESSES ?= 3

.DEFAULT_GOAL := help
.PHONY: help demo test test-matrix test-devbroker check bench bench-quick clean

help:
	@sed -n 's/^# make/make/p' Makefile

demo: $(VENV)/.installed
	@$(RUN)/python -m examples.codestats.demo

test: $(VENV)/.installed-dev
	@$(RUN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile

test-matrix: $(VENV)/.installed-dev
	@$(RUN)/python -m tests.matrix

test-devbroker: $(VENV)/.installed-dev
	@AMQTASK_TEST_BROKER=devbroker $(RUN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile \
		tests/contract tests/e2e tests/interop --ignore tests/contract/devbroker

check: $(VENV)/.installed-dev
	@$(RUN)/ruff format --check --quiet . || { $(RUN)/ruff format --check .; exit 1; }
	@$(RUN)/ruff check --quiet .
	@$(RUN)/mypy --no-error-summary amqtask examples tests/typing
	@$(RUN)/python -m pytest -q tests/test_architecture.py tests/test_public_api.py

bench: $(VENV)/.installed-bench
	@$(RUN)/python -m benchmarks

bench-quick: $(VENV)/.installed-bench
	@$(RUN)/python -m benchmarks --quick

clean:
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installed once, and again when the dependencies change.
$(VENV)/.installed: pyproject.toml | $(RUN)/python
	@echo "installing amqtask into $(VENV)"
	@$(RUN)/python -m pip install -qq --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(RUN)/python
	@echo "installing amqtask and what its tests need into $(VENV)"
	@$(RUN)/python -m pip install -qq --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: pyproject.toml | $(RUN)/python
	@echo "installing amqtask and its peers into $(VENV)"
	@$(RUN)/python -m pip install -qq --disable-pip-version-check --editable '.[bench]'
	@touch $@ $(VENV)/.installed

$(RUN)/python:
	@test -n "$(PYTHON)" || { echo "amqtask needs Python 3.11 or later; there is none in the PATH" >&2; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "this Python cannot make a venv; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
