# Wafa: `make run` shows it, `make test` tests it. Plain `make` lists all targets.

PYTHON ?= python3
SAMPLE ?= 148
SEEDS ?= 1000
# Of pytest: one more than the cores that it is measured on, since many tests wait for a time or for other processes.
WORKERS ?= 3
BIN := .venv/bin
# Some containers turn off the cache of compiled modules: then every process of the tests compiles all of them again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup run dev test test-deep test-one test-readme test-kafka simulate lint check format bench prove prove-selftest \
	generate lock clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## create .venv from the lock files (all other targets do this first)
	@$(PYTHON) deploy/setup.py

run: setup ## start everything, replay real purchases, show the results, keep running (SAMPLE=148 households, or all)
	@$(BIN)/python -m deploy.local up --sample $(SAMPLE)

dev: setup ## start everything without the sample; a process restarts when its source files change
	@$(BIN)/python -m deploy.local up --empty --reload

test: setup ## run the tests, with journeys on the embedded broker
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "not kafka and not deep"

test-deep: setup ## run the long tests: planted bugs, many seeds and examples, journeys of the grocer
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "deep and not kafka" --hypothesis-profile=deep

test-one: setup ## run the tests of a file, or those whose names match (K=tests/points/test_fold.py, K="debt and not late")
	@$(if $(K),,$(error say which tests: make test-one K=tests/points/test_fold.py, or a part of their names))
	$(BIN)/pytest $(if $(wildcard $(firstword $(subst ::, ,$(K)))),"$(K)",-m "not kafka" -k "$(K)")

test-readme: setup ## run every command block of the README in a fresh checkout
	$(BIN)/pytest tests/readme/journey.py

test-kafka: setup ## run the journeys on Apache Kafka (needs Java and Maven)
	$(BIN)/pytest -m kafka

simulate: setup ## run workers on a simulated broker with faults drawn from a seed (SEEDS=1000, or 200-400; SEED=17)
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

lint: setup ## check style, types, imports between modules, spelling, migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/typos
	$(BIN)/squawk shared/postgres/migrations/*.sql services/*/migrations/*.sql

check: lint test test-deep test-readme test-kafka ## run all that CI runs: lint and every test

format: setup ## format the code and apply the safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## measure the figures of the README (BENCH_JSON=file writes them)
	$(BIN)/python -m tests.bench

prove: setup ## inject faults on Apache Kafka and PostgreSQL, then plant bugs (PROVE_SEED=…, PROVE=soak: 45 minutes)
	$(BIN)/python -m tests.prove

prove-selftest: setup ## plant bugs one at a time, and check that each is caught
	$(BIN)/python -m tests.prove selftest

generate: setup ## write the schemas and the generated pages of docs/
	$(BIN)/python -m shared.contracts.generate
	$(BIN)/python -m deploy.docs

COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate

lock: setup ## compile requirements/*.txt from pyproject.toml (UPGRADE=--upgrade for newer versions)
	$(COMPILE) $(UPGRADE) pyproject.toml -o requirements/runtime.txt
	$(COMPILE) $(UPGRADE) pyproject.toml --group local --group sample --group test --group lint --group lock \
		-o requirements/dev.txt
	$(COMPILE) $(UPGRADE) --no-deps --group sample-data -o requirements/sample-data.txt
	$(COMPILE) $(UPGRADE) --group lock -o requirements/lock.txt

clean: ## remove .venv and caches (not the data of the stack)
	rm -rf .venv .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
