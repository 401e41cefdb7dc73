# Every command of the project. `make` alone prints them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Three at a time on two cores: half of a test's time is waiting for processes and disks.
PYTEST := sh tests/support/in-memory-tmp.sh $(BIN)/python -m pytest

# Without its bytecode each process of the tests would compile hive again, and each collection all tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup assets screenshots claude codex gemini opencode run demo demo-nixos test test-full test-floors test-other test-fresh real-tree soak lint bench bench-baseline bench-peers lock clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## virtual environment and dependencies
	@sh tests/support/get-assets.sh $(BIN)/python pages || \
	  echo 'hive: npm gave no scripts for the dashboard: its pages do not update by themselves until `make assets` gets them' >&2

$(STAMP): requirements.lock pyproject.toml | prerequisites
	@echo 'setting up $(VENV) (about a minute the first time)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: prerequisites test-prerequisites
prerequisites:
	@sh tests/support/prerequisites.sh run $(PYTHON)

test-prerequisites:
	@sh tests/support/prerequisites.sh test $(PYTHON)
	@case '$(TESTS)' in ''|*systemd*) sh tests/support/get-newer-systemd.sh ;; esac

assets: $(STAMP) ## the scripts that the dashboard serves besides its own, from npm (part of setup), and axe-core for its tests
	@sh tests/support/get-assets.sh $(BIN)/python pages
	@sh tests/support/get-assets.sh $(BIN)/python axe

run: setup ## a daemon in the foreground on ./.hive, with the dashboard on port 8420
	@HIVE_DASHBOARD_PORT=$${HIVE_DASHBOARD_PORT-8420} $(BIN)/hive serve --state .hive --runtime .hive/run

demo: setup ## the whole story, told against a real daemon in a temporary directory
	@$(BIN)/python -m tests.e2e.story

lint: setup ## style, types and import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy -n 2 || { [ $$? = 2 ] && echo 'hive: mypy again, in one process (its workers have 3 s to start)' && $(BIN)/mypy; }
	@$(BIN)/lint-imports

claude: setup ## the pinned Claude Code CLI in build/, which some tests drive
	@sh tests/support/get-claude.sh $(BIN)/python

codex: setup ## the pinned codex with its adapter in build/ (457 MB), which some tests drive
	@sh tests/support/get-agent.sh $(BIN)/python codex

gemini opencode: setup
	@sh tests/support/get-agent.sh $(BIN)/python $@

demo-nixos: setup ## the same story on a host with systemd, made for it (needs root and systemd-container)
	@$(BIN)/python -m tests.systemd.story

test: test-prerequisites lint assets claude codex ## lint, types, import rules and tests; installs what they need
	@$(PYTEST) -rs -n 3 --dist worksteal --durations=20 --durations-min=0 $(TESTS)

test-full: test-prerequisites lint assets claude codex gemini opencode ## the same with the long versions, and test-floors
	@HIVE_FULL=1 $(PYTEST) -n 3 --dist worksteal --durations=20 --durations-min=0
	@sh tests/support/floors.sh $(BIN)/python $(FLOORS)

# each direct dependency has tests here that use it
FLOORS := tests/meta/wire tests/meta/git/test_repo.py tests/meta/git/test_packs.py tests/reconciler/store tests/reconciler/telemetry \
  tests/reconciler/proposals/test_watch.py tests/reconciler/backends/nixos/test_bus.py tests/api/daemon/test_logs.py \
  tests/api/http/test_app.py tests/api/http/test_metrics.py tests/api/http/test_openapi.py tests/api/mcp/test_http.py \
  tests/api/mcp/test_schema.py tests/api/ui/test_answers.py tests/api/ui/diff tests/reconciler/access \
  tests/api/cli/test_commands.py tests/api/cli/test_empty_paths.py
test-floors: test-prerequisites setup ## the tests of each dependency with the oldest versions that hive allows
	@sh tests/support/floors.sh $(BIN)/python $(FLOORS)

SUITES ?= bookworm trixie
test-fresh: ## README's two commands in fresh roots of Debian, as root and as a user (SUITES=trixie WHO=user TESTS=all)
	@sh tests/fresh/run.sh $(SUITES)

real-tree: setup ## hive's Nix evaluated against a nixpkgs that you have (NIXPKGS=path)
	@nix/tests/real-tree.sh $(NIXPKGS)

screenshots: assets claude codex ## pictures of every page of the dashboard, from a hive with real activity (PAGES="agents plan")
	@$(BIN)/python -m tests.screenshots $(PAGES)

OTHER := demo tests/api/sockets tests/api/lines tests/harness tests/meta/process tests/meta/agent_toml tests/meta/test_text.py \
  tests/meta/test_invisible_text.py tests/reconciler/store tests/api/cli/test_commands.py
test-other: setup ## the demo and a selection of the tests on another Python of this machine, if it has one
	@sh tests/support/other-python.sh $(BIN)/python $(OTHER)

SECONDS ?= 600
soak: setup ## ten minutes of kills, full disks, a hostile agent and traffic at once (SECONDS=60 SEED=7)
	@$(BIN)/python -m tests.soak --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

bench: setup ## the figures, also in build/bench.json
	@command -v tinyproxy >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get install -y -qq --no-install-recommends tinyproxy-bin >/dev/null; } || \
	  echo 'hive: tinyproxy is missing, the way out has no peer: apt-get install tinyproxy-bin'
	@$(BIN)/python -m tests.bench

bench-baseline: setup ## today's figures beside those of commit 4adf687, which it makes in build/baseline
	@sh tests/support/get-baseline.sh $(PYTHON)
	@$(BIN)/python -m tests.bench.baseline

bench-peers: setup ## the broker's figures beside those of Redis streams, which it installs when it may
	@command -v redis-server >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install -y -qq --no-install-recommends redis-server; }
	@$(BIN)/python -m tests.bench.peers

lock: setup ## write requirements.lock again
	@$(BIN)/pip-compile -q --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  --strip-extras --allow-unsafe --extra dev -o requirements.lock pyproject.toml

clean: ## remove what was made here
	@rm -rf $(VENV) build api/ui/vendor .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
