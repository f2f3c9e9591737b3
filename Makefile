# Everything is installed into .venv, from pinned and hashed requirements. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
PACKAGES := $(wildcard correlator topology benchmarks tests)
COMPILE := uv pip compile -q --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-annotate \
  --custom-compile-command "make requirements"
LOCK := $(COMPILE) pyproject.toml
SURFACE ?= alerts
SECONDS ?= 60

.PHONY: help demo test bench wheel fuzz audit sbom requirements clean
.NOTPARALLEL:

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile | expand -t 22

demo: $(VENV)/.demo  ## replay a storm of alerts on an embedded broker and show the incidents
	$(BIN)/correlator demo

test: $(VENV)/.test  ## style, types, import contracts, and all tests, on Apache Kafka too where Java 17 and Maven are
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(PACKAGES)
	$(BIN)/lint-imports
	$(BIN)/pytest

bench: $(VENV)/.demo  ## measure throughput and latency on this machine
	$(BIN)/python -m benchmarks.storm
	$(BIN)/python -m benchmarks.end_to_end --broker embedded --alerts 200000

wheel: $(VENV)/.compile  ## dist/*.whl with the engine compiled for this machine (needs a C compiler; some minutes)
	rm -rf build/wheel
	mkdir -p build/wheel
	cp -r pyproject.toml README.md LICENSE correlator topology deploy/compiled/setup.py build/wheel
	$(BIN)/python -m pip --disable-pip-version-check wheel --no-deps --no-build-isolation -w dist build/wheel

fuzz: $(VENV)/.fuzz  ## fuzz one input surface, guided by coverage: make fuzz SURFACE=alerts SECONDS=60
	$(BIN)/python -m tests.fuzz $(SURFACE) --seconds $(SECONDS)

audit: $(VENV)/.audit  ## known vulnerabilities of all that is pinned; ends with 3 where the database cannot be asked
	$(VENV)/audit/bin/python requirements/audit.py $(AUDIT)

sbom: $(VENV)/.audit  ## write sbom.json: all that a worker needs, in pinned versions, as CycloneDX
	$(VENV)/audit/bin/cyclonedx-py requirements requirements/run.txt --pyproject pyproject.toml \
	  --output-reproducible --of JSON -o sbom.json

requirements:  ## pin the newest versions that pyproject.toml allows (needs uv)
	@command -v uv >/dev/null || { echo "uv is not installed; see https://docs.astral.sh/uv" >&2; exit 1; }
	$(LOCK) --upgrade --extra test --group build -o requirements/test.txt
	$(LOCK) --upgrade --extra demo --group build -c requirements/test.txt -o requirements/demo.txt
	$(LOCK) --upgrade -c requirements/test.txt -o requirements/run.txt
	$(COMPILE) --upgrade --group fuzz -c requirements/test.txt -o requirements/fuzz.txt
	$(COMPILE) --upgrade --group compile -c requirements/test.txt -o requirements/compile.txt
	$(COMPILE) --upgrade --group audit -o requirements/audit.txt

clean:  ## remove .venv, caches and builds; Apache Kafka's jars stay in the user's cache
	rm -rf $(VENV) build dist sbom.json *.egg-info .fuzz .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find correlator topology benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, $(PYTHON) is not: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The two stamps: test.txt holds all of demo.txt in the same versions.
$(VENV)/.demo: requirements/demo.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements/demo.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.test: requirements/test.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements/test.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.demo

$(VENV)/.fuzz: requirements/fuzz.txt | $(VENV)/.test
	$(PIP) install --require-hashes -r requirements/fuzz.txt
	@touch $@

$(VENV)/.compile: requirements/compile.txt | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements/compile.txt
	@touch $@

# The auditors have an environment of their own: what they need is no part of what they audit.
$(VENV)/.audit: requirements/audit.txt | $(VENV)/bin/python
	$(BIN)/python -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip --disable-pip-version-check -q install --require-hashes -r requirements/audit.txt
	@touch $@
