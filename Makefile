# Wafa: `make run` shows it, `make test` proves it. Plain `make` lists the rest.

PYTHON ?= python3
SAMPLE ?= 148
SEEDS ?= 1000
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup run test test-readme test-kafka simulate prove prove-selftest lint format bench generate lock clean

help: ## list what can be made
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## make .venv from the lock files (all the others do this first)
	@$(PYTHON) deploy/setup.py

run: setup ## start everything, replay real purchases, show the results, stay up (SAMPLE=148 households, or all)
	@$(BIN)/python -m deploy.local up --sample $(SAMPLE)

test: setup ## run the tests, journeys on the embedded broker included
	$(BIN)/pytest -n 2 --dist loadgroup -m "not kafka"

test-readme: setup ## run every command block of the README, as it stands, in a fresh checkout
	$(BIN)/pytest tests/readme/journey.py

test-kafka: setup ## run the journeys on real Apache Kafka (needs Java and Maven)
	$(BIN)/pytest -m kafka

simulate: setup ## play workers on a simulated broker, fault by fault (SEEDS=1000, or 200-400; SEED=17 again)
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

lint: setup ## style, types, arrows between modules, spelling, migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/typos
	$(BIN)/squawk shared/postgres/migrations/*.sql services/*/migrations/*.sql

format: setup ## put the code in its form, with the fixes that are safe
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## measure the figures of the README (BENCH_JSON=file writes them)
	$(BIN)/python -m tests.bench

prove: setup ## try to break it on real Kafka and PostgreSQL, then plant bugs in it (PROVE_SEED=…, PROVE=soak: 45 minutes)
	$(BIN)/python -m tests.prove

prove-selftest: setup ## plant bugs one at a time, and see each caught
	$(BIN)/python -m tests.prove selftest

generate: setup ## write the schemas and the generated pages of docs/ again
	$(BIN)/python -m shared.contracts.generate
	$(BIN)/python -m deploy.docs

COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate

lock: setup ## compile requirements/*.txt from pyproject.toml (UPGRADE=--upgrade takes newer versions)
	$(COMPILE) $(UPGRADE) pyproject.toml -o requirements/runtime.txt
	$(COMPILE) $(UPGRADE) pyproject.toml --group local --group sample --group test --group lint --group lock \
		-o requirements/dev.txt
	$(COMPILE) $(UPGRADE) --no-deps --group sample-data -o requirements/sample-data.txt
	$(COMPILE) $(UPGRADE) --group lock -o requirements/lock.txt

clean: ## remove what can be made again (not the data of the stack)
	rm -rf .venv .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
