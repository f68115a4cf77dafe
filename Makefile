# Everything that is done with this repository. Needs Python 3.11 or newer and make; `make help` lists the targets.

# The first Python that is new enough; PYTHON=... chooses another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)

VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

# What `run` and `publish` hand on to the demo engine.
DEMO_OPTIONS = $(if $(DATA),--data "$(DATA)") $(if $(AS_OF),--as-of "$(AS_OF)") $(if $(SEED),--seed "$(SEED)")

COMPOSE = docker compose --file deploy/compose.yaml
comma := ,

# `make lock UPGRADE=` leaves the versions that are pinned already.
UPGRADE ?= --upgrade

# Tests wait for servers more than they compute; 0 runs them in one process.
WORKERS ?= 2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run publish clean-data test two-instances fuzz faults bench load soak report check generate client format image compose-up compose-down compose-test kubernetes-test lock install

##@ Use

run: $(INSTALLED) ## start the whole stack and publish signals; DATA=file.csv AS_OF=2017-06 SEED=7 choose what
	@exec $(PY) -m deploy.local run $(DEMO_OPTIONS)

publish: $(INSTALLED) ## publish to the running stack; DATA= (.csv or .jsonl), AS_OF=, SEED= as for run
	@export COMPASS_KAFKA_BOOTSTRAP_SERVERS="$${COMPASS_KAFKA_BOOTSTRAP_SERVERS:-127.0.0.1:$${COMPASS_KAFKA_PORT:-19092}}"; \
	exec $(PY) -m deploy.demo $(DEMO_OPTIONS)

clean-data: $(INSTALLED) ## remove the local data, after asking
	@exec $(PY) -m deploy.local clean-data

##@ Develop

# A file's tests stay together: they share what is dear to start. Each worker has servers of its own.
test: $(INSTALLED) ## every test that needs no Docker; TESTS=tests/signals for some of them, WORKERS= how many at once
	@exec $(PY) -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

two-instances: $(INSTALLED) ## two instances of every service under load, one killed every ten seconds for two minutes
	@COMPASS_TEST_KILLS=12 COMPASS_TEST_KILL_EVERY_SECONDS=10 $(PY) -m pytest -rP tests/e2e/test_two_instances.py

check: $(INSTALLED) ## format, lint, types, import contracts, migrations, generated files
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m deploy.gateway client >/dev/null
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports --no-cache
	@$(PY) -m deploy.local check-migrations
	@$(PY) -m shared.events.asyncapi --check docs/asyncapi.json
	@$(PY) -m deploy.gateway openapi --check docs/openapi.json
	@$(PY) -m deploy.kubernetes topics --check
	@$(PY) -m deploy.kubernetes alerts --check

generate: $(INSTALLED) ## write anew what is made from the code: API documents, Strimzi's topics, alerts
	@$(PY) -m shared.events.asyncapi docs/asyncapi.json
	@$(PY) -m deploy.gateway openapi docs/openapi.json
	@$(PY) -m deploy.kubernetes topics
	@$(PY) -m deploy.kubernetes alerts

client: $(INSTALLED) ## make the typed Python client of the API from docs/openapi.json: build/compass_client
	@$(PY) -m deploy.gateway client

format: $(INSTALLED) ## put the code into the agreed format
	@$(PY) -m ruff check --fix-only --quiet .
	@$(PY) -m ruff format .

# Those that are made up without a stack are in `make test` as well, fewer of them and the same each time.
FUZZED = tests/fuzzing tests/auth/test_model.py $(wildcard tests/*/test_*_fuzzed.py)

fuzz: $(INSTALLED) ## made-up messages, tokens, queries and requests; SERVICE=signals for one service, EXAMPLES=50 SEED=7
	@export COMPASS_FUZZ_EXAMPLES="$(or $(EXAMPLES),10)" COMPASS_FUZZ_SEED="$(or $(SEED),1)"; \
	exec $(PY) -m pytest --numprocesses $(WORKERS) -m "fuzzing or hypothesis" $(FUZZED) $(if $(SERVICE),-k "$(SERVICE)") \
		--hypothesis-profile=long --hypothesis-seed="$$COMPASS_FUZZ_SEED"

faults: $(INSTALLED) ## SEEDS=200 of faults, FROM=1, less those already green; SEED=17 again; AGAIN=1 MINUTES= MUTATION=no-inbox
	@exec $(PY) -m tests.faults $(if $(SEEDS),--seeds "$(SEEDS)") $(if $(FROM),--from "$(FROM)") $(if $(SEED),--seed "$(SEED)") \
		$(if $(AGAIN),--again) $(if $(MINUTES),--minutes "$(MINUTES)") $(if $(MUTATION),--mutation "$(MUTATION)")

bench: $(INSTALLED) ## the benchmarks, each with its limit in the same run; BENCH=ingest for one of them
	@exec $(PY) -m benchmarks $(BENCH)

load: $(INSTALLED) ## USERS=200 leaders with streams, SIGNALS=1000000, beside a month of MONTH=50000; then STEPS=50,100,200,400,800
	@exec $(PY) -m benchmarks.api_load $(if $(USERS),--users "$(USERS)") $(if $(SIGNALS),--signals "$(SIGNALS)") \
		$(if $(MONTH),--month "$(MONTH)") $(if $(MONTH_SECONDS),--month-seconds "$(MONTH_SECONDS)") \
		$(if $(STEPS),--steps "$(STEPS)") $(if $(STEP_SECONDS),--step-seconds "$(STEP_SECONDS)")

soak: $(INSTALLED) ## MINUTES=60 of RATE= requests and PUBLISH= signals a second: nothing lost, and nothing that grows by the hour
	@exec $(PY) -m benchmarks.soak $(if $(MINUTES),--minutes "$(MINUTES)") $(if $(RATE),--rate "$(RATE)") \
		$(if $(PUBLISH),--publish "$(PUBLISH)") $(if $(SIGNALS),--signals "$(SIGNALS)")

report: $(INSTALLED) ## the tables and plots of benchmarks/README.md, from what was measured here and what is kept
	@$(PY) -m benchmarks.report

##@ Containers

image: ## build the one image of all services, quality-compass unless COMPASS_IMAGE= names it otherwise
	@python=$$(test -x $(PY) && echo $(PY) || echo "$(PYTHON)"); \
	export PIP_INDEX_URL="$${PIP_INDEX_URL:-$$($$python -m pip config get global.index-url 2>/dev/null || true)}"; \
	docker build --network=host --build-arg PIP_INDEX_URL --build-arg REVISION="$$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
		--build-arg VERSION="$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)" \
		--file deploy/Dockerfile --tag "$${COMPASS_IMAGE:-quality-compass}" .

compose-up: ## run it all with Docker; PROFILES=demo,observability for more. Makes deploy/.env where there is none
	@test -e deploy/.env || deploy/make-env.sh $(if $(findstring demo,$(PROFILES)),--demo)
	@$(COMPOSE) $(if $(PROFILES),--profile $(subst $(comma), --profile ,$(PROFILES))) up --detach --wait

compose-down: ## stop it and remove the containers; the data is kept in its volumes
	@$(COMPOSE) --profile '*' down

compose-test: $(INSTALLED) image ## the image and deploy/compose.yaml, run, killed and stopped under a project name of its own
	@exec $(PY) -m pytest -m containers tests/containers

kubernetes-test: $(INSTALLED) ## the dev overlay on the cluster of kubectl's configuration; ONLY=rolling for some of it
	@exec $(PY) -m pytest -m kubernetes -rA --durations=0 tests/kubernetes $(if $(ONLY),-k "$(ONLY)")

##@ Environment

install: $(INSTALLED) ## make the virtual environment; every other target does it when it is needed

lock: $(INSTALLED) ## pin all dependencies anew: requirements*.lock, the JARs; UPGRADE= only what is new or gone
	@$(UV); set -e; \
	"$$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate $(UPGRADE) --extra demo --extra local --extra dev --output-file requirements.lock pyproject.toml; \
	: "What the image has of it, in the same versions."; \
	"$$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --extra demo --constraint requirements.lock --output-file requirements-image.lock pyproject.toml; \
	echo "# Installs everything else where the machine has no uv of its own. Made by make lock." > requirements-uv.lock; \
	echo uv | "$$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-annotate $(UPGRADE) - >> requirements-uv.lock
	@$(PY) -m deploy.local.jars
	@$(PY) -m benchmarks.connect_jars

help: ## this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The machine's uv, or the one in the environment; and the package index that pip is told of, which uv does not read.
UV = uv=$$(command -v uv || echo "$(VENV)/bin/uv"); \
	index=$${PIP_INDEX_URL:-$$($(PY) -m pip config get global.index-url 2>/dev/null || true)}; \
	if [ -n "$$index" ] && [ -z "$${UV_DEFAULT_INDEX:-}" ]; then export UV_DEFAULT_INDEX="$$index"; fi

# The stamp is written last, so that an installation that failed or was interrupted is done again. Compiled once here:
# the stack is a dozen Python processes, and some machines keep them from writing compiled files of their own.
$(INSTALLED): requirements.lock requirements-uv.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python"; exit 1; }
	@rm -f $@
	@$(PY) -m pip --version >/dev/null 2>&1 || { echo "Making $(VENV)"; rm -rf $(VENV); "$(PYTHON)" -m venv $(VENV); }
	@command -v uv >/dev/null || $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@echo "Installing the pinned dependencies into $(VENV)"
	@$(UV); "$$uv" pip install --quiet --compile-bytecode --python $(PY) --require-hashes -r requirements.lock
	@touch $@
