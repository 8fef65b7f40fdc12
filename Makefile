# What a newcomer types. Everything is installed into .venv; nothing needs root, Java or Docker.
SHELL := bash
.ONESHELL:
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2
CLIENT ?= *

.PHONY: help setup demo test lint fuzz model mutants sim honest hunt weaken clients engines bench containers image lock clean

help:  ## say what there is to type
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

# One stamp, so that a second `make` costs nothing: made anew when the lock or the project's metadata change.
.venv/.ready: ci/requirements.lock pyproject.toml
	ci/setup "$(PYTHON)"
	touch $@

setup: .venv/.ready  ## make .venv with the pinned dependencies and the commands tracegen and checker

demo: .venv/.ready  ## break a three-node cluster on purpose and have TLC judge what happened
	$(BIN)/tracegen demo

test: .venv/.ready lint  ## run the whole test suite; containers are part of it where a Docker engine can be had
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fuzz: .venv/.ready  ## feed each parser of strangers' bytes a million inputs, guided by coverage where atheris has a wheel
	$(BIN)/pip install --quiet --only-binary :all: "atheris>=3" || echo "atheris cannot be installed here: by chance, then"
	nice -n 15 $(BIN)/python -m ci.fuzz

model: .venv/.ready  ## check every bounded model and refute every broken twin (minutes)
	$(BIN)/checker model --deep
	$(BIN)/checker model --spec bucket
	$(BIN)/checker model --deep --spec tiering

mutants: .venv/.ready  ## show that the checker catches every deliberate bug, and never the honest node
	$(BIN)/tracegen mutants --seeds 1..50

sim: .venv/.ready  ## simulate 2,000 clusters with a mix of faults each (minutes)
	$(BIN)/tracegen sim --seeds 1..2000 --jobs $(JOBS)

honest: .venv/.ready  ## the same with 10,000, of which none may accuse the honest server
	$(BIN)/tracegen sim --seeds 1..10000 --jobs $(JOBS) --tlc-every 200

hunt: .venv/.ready  ## how soon the swarm finds each deliberate bug: a table
	$(BIN)/tracegen mutants --backend sim --seeds 1..200 --jobs $(JOBS)

weaken: .venv/.ready  ## weaken each condition of the spec in turn: a trace or a model must notice (an hour)
	$(BIN)/python -m integration.corpus runs/corpus
	$(BIN)/checker weaken runs/corpus --jobs $(JOBS)

clients: .venv/.ready  ## S3 clients (CLIENT=boto3: one): 2,000 files, 1 GiB; one node, and three with one killed
	CLIENT_JOBS=full $(BIN)/pytest -s integration/test_clients_$(CLIENT).py

engines: .venv/.ready  ## engines that live on S3 (SlateDB, Icechunk, delta-rs, Lance, Databend), with large jobs
	CLIENT_JOBS=full $(BIN)/pytest -s integration/test_engines.py

bench: .venv/.ready  ## print the figures: checker, server against moto (installs nothing; wants wrk)
	$(BIN)/python -m ci.bench

containers: .venv/.ready  ## fifty runs in containers: nothing of them stays; how many an hour, how soon they begin
	CONTAINER_RUNS=50 $(BIN)/pytest -s tracegen/tests/test_docker_left.py

image: .venv/.ready  ## build the node's image, amberio, at the Docker engine (a minute or two)
	$(BIN)/python -m tracegen.backend.docker.images amberio

lock:  ## pin the newest dependencies, with hashes
	$(BIN)/pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --upgrade --extra dev --generate-hashes --allow-unsafe --strip-extras --no-header \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
	  --output-file ci/requirements.lock pyproject.toml
	for clients in ci/clients/*.in; do
	  $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --no-emit-find-links --output-file "$${clients%.in}.lock" "$$clients"
	done

clean:  ## remove what was made here, except runs/
	rm -rf .venv .venv-clients build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
