# What a contributor runs; .ci/run runs everything, from a fresh clone.
PYTHON ?= python

.PHONY: test lint docs

test:
	$(PYTHON) -m pytest -n auto

lint:
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	$(dir $(shell command -v $(PYTHON)))lint-imports --no-cache

docs:
	$(PYTHON) -m pytest -n auto -m "long or not long" tests/cli/test_docs.py tests/unit/test_words.py
