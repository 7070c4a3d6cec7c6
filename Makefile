# `make` lists the targets.
PYTHON ?= .venv/bin/python
BIN := $(dir $(PYTHON))

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup:  ## make .venv and install the project for development
	python3 -m venv .venv && .venv/bin/pip install -e ".[dev]"

demo:  ## write demo/index.html
	$(BIN)legan demo

check:  ## lint, format, types and import rules
	$(BIN)ruff check .
	$(BIN)ruff format --check .
	$(BIN)mypy
	$(BIN)lint-imports

format:  ## mend lint and format where a machine can
	$(BIN)ruff check --fix .
	$(BIN)ruff format .

site:  ## build the documentation, site/index.html
	$(BIN)mkdocs build --strict

release:  ## build wheel and sdist into dist/, check them, try the wheel in a new environment
	$(PYTHON) tools/release.py --install whole

test:  ## run the tests
	$(PYTHON) -m pytest

quick:  ## run the tests but the slow ones
	$(PYTHON) -m pytest -m 'not slow'

bench:  ## print the speed of rendering and training
	$(PYTHON) benchmarks/render.py
	$(PYTHON) benchmarks/train_step.py
	$(PYTHON) benchmarks/evaluate.py

baselines:  ## train the five models of the comparison: make baselines DATA="data/rendered data/relit" RUNS=runs/comparison IMAGES=80000
	$(PYTHON) experiments/comparison/train.py $(foreach folder,$(DATA),--data $(folder)) --runs $(RUNS) --images $(IMAGES)

comparison:  ## evaluate them again: make comparison EVALUATE="data/rendered:test data/relit:val" RUNS=runs/comparison [OPTIONS="--n 500"]
	$(PYTHON) experiments/comparison/report.py $(foreach word,$(EVALUATE),--data $(word)) --runs $(RUNS) --out $(RUNS)/report $(OPTIONS)
	cd $(RUNS)/report && cp report.json table.* curves.* orderings.md weights.json $(CURDIR)/experiments/comparison/results

.PHONY: help setup demo check format site release test quick bench baselines comparison
