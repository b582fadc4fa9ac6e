# Every target makes .venv by itself, with nothing but python3 (3.11 or newer, with venv) and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: demo audio test test-slow bench bench-quick lint docs docs-slow docs-links release-check help clean

demo: $(VENV)/.stamp-demo ## fit a flow to real data, print the leaderboard, write a report
	$(BIN)/pushforward demo --overwrite

audio: $(VENV)/.stamp-dev ## speech: a teacher, its student, their sounds and figures, in speech/ (20 minutes; Debian package asterisk-core-sounds-en-wav)
	$(BIN)/python examples/speech.py --out speech

test: $(VENV)/.stamp-dev ## lint, types and every quick test, with the time of each part
	$(BIN)/python tests/run.py

test-slow: $(VENV)/.stamp-dev ## the tests marked slow: large grids, statistics, fuzzing
	$(BIN)/python tests/run.py --slow

bench: $(VENV)/.stamp-dev ## speed beside other libraries, each in an environment of its own
	$(BIN)/python benchmarks/run.py

bench-quick: $(VENV)/.stamp-dev ## speed against the commit in benchmarks/baseline, in turn (3 minutes)
	$(BIN)/python benchmarks/versions.py --quick

lint: $(VENV)/.stamp-dev ## ruff (rules and layout) and the type checker
	$(BIN)/python tests/run.py lint

docs: $(VENV)/.stamp-docs ## the documentation as HTML, in site/; runs the blocks of pages whose code has changed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-slow: $(VENV)/.stamp-docs ## run the slow pages of the documentation again; their outputs are committed
	$(BIN)/python tools/docs_build/run.py --all

docs-links: ## the links that leave the built documentation, to look at by hand
	@PYTHONPATH=tools $(BIN)/python -m docs_build.links

release-check: $(VENV)/.stamp-release ## build wheel and sdist, and run them in empty environments: lowest and highest versions (10 minutes)
	$(BIN)/python tools/release_check.py --python $(PYTHON)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r t d; do printf '%-10s %s\n' "$$t" "$$d"; done

clean: ## remove .venv, caches and built files
	rm -rf $(VENV) site .docs_cache build dist .pytest_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# pip grew --group in 25.1, so it is renewed inside .venv before anything else is installed.
$(VENV)/.stamp-pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "pushforward needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) --version 2>&1): run make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.stamp-demo: $(VENV)/.stamp-pip pyproject.toml
	$(PIP) --editable ".[cli]"
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-pip pyproject.toml
	$(PIP) --editable ".[cli,export]" --group dev
	@touch $@ $(VENV)/.stamp-demo

$(VENV)/.stamp-docs: $(VENV)/.stamp-pip pyproject.toml
	$(PIP) --editable ".[all]" --group docs
	@touch $@

$(VENV)/.stamp-release: $(VENV)/.stamp-pip pyproject.toml
	$(PIP) --group release
	@touch $@
