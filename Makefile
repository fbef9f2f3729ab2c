# You need Python 3.11 or newer, git and make; scripts/setup installs the rest, once.
BIN = .venv/bin
ARGS =
BASE = main
# Processes that run tests.  Tests wait for children and clocks, so that two cores have time for a third process.
WORKERS = 3

.PHONY: help run test tests slow coverage check torture lint format bench constraints clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run: ## measure a baseline, then experiments until Ctrl-C; ARGS="--experiments 6" for six
	@sh scripts/setup run
	@$(BIN)/autoresearch-mlx run $(ARGS)
	@echo "next: . $(BIN)/activate && autoresearch-mlx log"

test: ## run the checks and, beside them, all quick tests; ARGS go to pytest
	@sh scripts/setup dev
	@$(MAKE) --no-print-directory -j 2 lint tests

tests: # mypy takes one core for 20 seconds, in which the tests begin
	@sh scripts/setup dev
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m 'not slow and not torture' $(ARGS)

slow: ## run the other tests: whole nights, real trainings, pages in a browser, the docs; ARGS go to pytest
	@sh scripts/setup dev
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m 'slow and not torture' $(ARGS)

coverage: ## run quick and slow tests and count the lines that they reach; fails under 90 %
	@sh scripts/setup dev
	$(BIN)/pytest -n $(WORKERS) --dist worksteal --cov --cov-fail-under=90 $(ARGS)

check: lint ## check style and types, and run the tests of what changed since BASE
	@tests=$$($(BIN)/python scripts/changed_tests.py $(BASE)) && { [ -z "$$tests" ] || $(BIN)/pytest -n 2 -q $$tests; }

torture: ## kill the loop (kill -9) at every step and at 200 instants, for half an hour; ARGS go to pytest
	@sh scripts/setup dev
	$(BIN)/pytest -n 2 -m torture tests/torture $(ARGS)

lint: ## check style and types
	@sh scripts/setup dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: ## rewrite the code in this project's style
	@sh scripts/setup dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: ## run all benchmarks in bench/ except recipe, recipe_nights and peer, one after the other
	@sh scripts/setup dev
	@for file in $$(grep -l '^if __name__' bench/*.py | grep -v -e recipe -e peer); do \
		echo "$$file"; $(BIN)/python -m "bench.$$(basename "$$file" .py)" $(ARGS) || exit 1; \
	done

constraints: ## write the newest versions into constraints.txt (needs uv)
	@sh scripts/constraints

clean: ## remove what make has made; sessions in .autoresearch stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* htmlcov dist build
