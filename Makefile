# Everything that is done to this project by name. `make help` lists it.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help docs demo test gates fuzz machines bench scale soak linters lint fmt lock clean environment engine hypervisor programs

VENV := .venv
BIN := $(VENV)/bin
DEMO := .demo
ARGS :=
# The tests that use the engine run one after another in one process, the rest beside them in the other.
WORKERS := -n 2 --dist loadfile

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
APT := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -o DPkg::Use-Pty=0
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
ifeq ($(strip $(HOME)),)
export HOME := $(shell getent passwd "$$(id -u)" | cut -d: -f6)
endif

# `doctor --fix` adds a user to the group docker, which a session that began before does not know yet.
grouped = if [ -z "$(SUDO)" ] || [ -w /var/run/docker.sock ]; then $(1); else sg docker -c '$(1)'; fi

help: ## list what can be made
	@sed -n 's/^\([a-z]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: environment engine ## from nothing to a lab whose desktop is open in the browser; its address is the last line
	@[ -f $(DEMO)/lab.yaml ] || $(BIN)/labctl init --template hello $(DEMO)
	@$(call grouped,$(BIN)/labctl up -f $(DEMO)/lab.yaml --yes)
	@echo "labctl down -f $(DEMO)/lab.yaml takes it away again. The desktop:" >&2
	@$(call grouped,$(BIN)/labctl url dev -f $(DEMO)/lab.yaml)

test: environment engine hypervisor programs ## all gates and tests (engine, browser and machines included); ARGS="-k word" for some
	@$(call grouped,$(BIN)/pytest $(WORKERS) $(ARGS))

gates: environment ## only what needs neither engine nor browser
	@$(BIN)/pytest -m "not engine and not browser and not soak and not vm" $(ARGS)

soak: environment engine hypervisor programs ## the long rounds
	@$(call grouped,$(BIN)/pytest -m soak --timeout 7200 $(ARGS))

fuzz: environment ## the lab file under texts that reach new code, an hour of it; ARGS="-max_total_time=60" for a minute
	@$(BIN)/python -m tests.fuzz -max_total_time=3600 $(ARGS)

machines: environment hypervisor ## only the tests that start virtual machines
	@$(BIN)/pytest -m vm --timeout 1200 $(ARGS)

bench: environment engine ## labctl, compose and a bare script side by side
	@$(call grouped,$(BIN)/python -m tests.bench $(ARGS))

scale: environment engine ## labs of more and more nodes, more and more labs at once; draws docs/scale-*.svg
	@$(call grouped,$(BIN)/python -m tests.bench.scale --plots docs $(ARGS))

linters: ## what checks the Jenkinsfile and the devcontainer (needs npm with node 20, and java); tests use it when it is there
	@npm install --prefix .linters --silent --no-audit --no-fund npm-groovy-lint@15.2.2 @devcontainers/cli@0.89.0

lint: environment ## format, lint, types and layers, without changing anything
	$(BIN)/ruff format --check cli tests
	$(BIN)/ruff check cli tests
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: environment ## format, and mend what the linter can mend
	$(BIN)/ruff format cli tests
	$(BIN)/ruff check --fix cli tests

docs: environment ## write what of the docs is generated
	$(BIN)/python -m tests.docs.reference > docs/reference.md
	$(BIN)/labctl explain --markdown > docs/errors.md
	$(BIN)/labctl schema > docs/lab.schema.json
	$(BIN)/python -m labctl.documents.schema > docs/documents.schema.json

lock: environment ## newest versions with hashes into requirements.lock; no index addresses in it
	@$(BIN)/pip install --quiet uv
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --upgrade --quiet --output-file requirements.lock
	@sed -i '1i # Written by `make lock` from pyproject.toml, for all that it supports.' requirements.lock

clean: ## remove the environment and caches; labs stay (labctl ls, labctl down)
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find cli tests -name __pycache__ -type d -exec rm -rf {} +

# ---------------------------------------------------------------- what these need

# The environment that was made in another place, or by a Python that is gone, is made again. What an editable package
# was compiled to is kept: where PYTHONDONTWRITEBYTECODE is set, each command would compile all of it again.
environment: $(VENV)/made
	@$(BIN)/python -c 'import labctl' 2>/dev/null && $(BIN)/labctl --version >/dev/null 2>&1 \
		|| { rm -rf $(VENV); $(MAKE) --no-print-directory $(VENV)/made; }
	@$(BIN)/python -m compileall -q cli/labctl

$(VENV)/made: requirements.lock pyproject.toml
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'labctl needs Python 3.11 or later' >&2; exit 1; }
	@python3 -c 'import ensurepip' 2>/dev/null \
		|| { $(APT) -qq update && $(APT) -qq install -y --no-install-recommends python3-venv ca-certificates; } >&2
	python3 -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# No stamp: an engine can stop. When all is there this takes no more than a look.
engine: environment
	@$(BIN)/labctl doctor --fix --yes >&2 || { [ -n "$(SUDO)" ] && sg docker -c '$(BIN)/labctl doctor' >&2; }

# Where libvirt and Vagrant cannot be had, the tests of machines are skipped and say so.
hypervisor: environment
	@$(BIN)/labctl doctor --for vagrant --fix --yes >&2 || true

programs:
	@set --; \
	for pair in chromium:chromium ssh:openssh-client rsync:rsync ip:iproute2 ps:procps git:git dot:graphviz cpio:cpio; do \
		command -v "$${pair%%:*}" >/dev/null || set -- "$$@" "$${pair##*:}"; \
	done; \
	ldconfig -p | grep -q libatomic.so.1 || set -- "$$@" libatomic1; \
	case " $$* " in *' chromium '*) set -- "$$@" fonts-dejavu-core;; esac; \
	[ $$# = 0 ] || { $(APT) -qq update && $(APT) -qq install -y --no-install-recommends "$$@"; } >&2
