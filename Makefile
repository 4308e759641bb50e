# The verbs of Backup Operator. Each works alone, from a fresh clone.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# the verbs of `make test` share two cores and one cluster
.NOTPARALLEL:

PYTHON ?= python3
CLUSTER := $(PYTHON) -m tests.cluster
VENV := .venv
RUN := $(VENV)/bin/python
NAMESPACE := backup-operator
# cluster tools that were made for this checkout come first; on a bare machine they are the only ones
export PATH := $(CURDIR)/.cluster/bin:$(PATH)
export KUBECONFIG := $(CURDIR)/.cluster/kubeconfig
export KUBECACHEDIR := $(CURDIR)/.cluster/kubectl-cache
# the workers and operators that tests start by the hundred find our code compiled
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lint cluster images install test-unit test-integration test-e2e bench crds lock down venv

help: ## say what there is
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | awk -F'\t' '{printf "%-18s%s\n", $$1, $$2}'

demo: cluster images $(VENV)/ready ## back up a PostgreSQL and a Redis, and open both files with stock tools
	$(RUN) -m tests.demo

test: lint test-unit test-integration test-e2e ## linters, types, contracts, unit, integration and end-to-end tests

lint: $(VENV)/ready ## ruff, mypy, import contracts
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

cluster: ## bring up kind, or a node of our own; kubeconfig at .cluster/kubeconfig
	$(CLUSTER) up

images: ## build the images; load them when the cluster is up
	$(CLUSTER) images

install: cluster images ## install the chart with these images into namespace backup-operator
	helm upgrade --install backup-operator charts/backup-operator --namespace $(NAMESPACE) --create-namespace \
	  --set image.repository=backup-operator --set image.tag=dev \
	  --set workerImage.repository=backup-operator-worker --set workerImage.tag=dev \
	  --wait --timeout 180s

test-unit: $(VENV)/ready ## tests without I/O
	$(RUN) -m pytest tests/unit -n auto

test-integration: cluster $(VENV)/ready ## tests with real servers on this machine, and with the cluster's API server
	$(CLUSTER) packages integration
	$(RUN) -m pytest tests/integration -n 3 # one more than cores: one of them waits for the cluster most of the time

test-e2e: cluster images $(VENV)/ready ## tests on the cluster
	$(RUN) -m tests.e2e

bench: $(VENV)/ready ## the worker against bare pg_dump and the shell pipe
	$(CLUSTER) packages integration
	$(RUN) -m tests.bench

crds: $(VENV)/ready ## write the CRDs anew from the models
	$(RUN) -m backup_operator.api.schema

lock: $(VENV)/ready ## resolve the locked requirements anew
	$(VENV)/bin/uv pip compile $(LOCK) pyproject.toml -o requirements.lock
	$(VENV)/bin/uv pip compile $(LOCK) --extra dev pyproject.toml -o requirements-dev.lock
	$(VENV)/bin/uv pip compile $(LOCK) requirements-build.in -o requirements-build.lock
LOCK := --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-header --no-annotate

down: ## end the cluster and all that came with it; caches stay
	$(CLUSTER) down

venv: $(VENV)/ready ## the Python environment of the tests

$(VENV)/ready: requirements-dev.lock requirements-build.lock pyproject.toml
	$(CLUSTER) packages venv
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip --version > /dev/null 2>&1 || $(RUN) -m ensurepip
	$(RUN) -m pip install --quiet --require-hashes --no-deps -r requirements-dev.lock -r requirements-build.lock
	$(RUN) -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
