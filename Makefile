# `make help` lists the targets. Everything runs in .venv, made from requirements.lock.

PYTHON ?=
export TF_CPP_MIN_LOG_LEVEL ?= 2

CANDIDATES = $(or $(PYTHON),python3 python3.13 python3.12 python3.11)
PROBE = import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
# Run each candidate: a command of that name may be a stub, or too old, or lack the venv module. Searched once, on first use.
INTERPRETER = $(eval INTERPRETER := $$(shell for python in $(CANDIDATES); do \
	"$$$$python" -c '$$(PROBE)' >/dev/null 2>&1 && command -v "$$$$python" && break; done))$(INTERPRETER)
NEEDED = Python 3.11, 3.12 or 3.13 with its venv module is needed (tried: $(CANDIDATES)); \
	install one or name it: make PYTHON=/path/to/python3.11

# uv installs the rest: it unpacks on all cores, five times as fast as pip.
PIP = .venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --no-compile --require-hashes

# Written when an installation is complete; holds the checksum of the lock it was made from.
STAMP = .venv/complete
WANTED := $(shell cksum < requirements.lock)
HAVE := $(shell cat $(STAMP) 2>/dev/null && .venv/bin/python -c '' 2>&1)

.PHONY: help quickstart audit test lint lock benchmark clean environment

help:
	@echo "make quickstart  run every stage on a small data set; print the headline table and the report (minutes)"
	@echo "make audit MODEL=network.tflite DATA=folder [RANGE=0..255] [MEAN=] [DEVIATION=] [ORDER=bgr] [LABELS=cat,dog]"
	@echo "                 how easily is your network fooled? DATA has a folder of images for each class"
	@echo "make test        run all tests"
	@echo "make lint        check style: ruff, snakefmt, snakemake --lint"
	@echo "make lock        pin requirements.in anew: requirements.lock and envs/"
	@echo "make benchmark   measure against peers"
	@echo "make clean       remove the environment and caches; results/, logs/ and Snakemake's records stay"
	@echo "PYTHON=...       the interpreter (3.11 to 3.13) that .venv is made with"

environment:
ifneq ($(HAVE),$(WANTED))
	$(if $(INTERPRETER),,$(error $(NEEDED)))
	@echo "Making .venv with $(INTERPRETER) (2.7 GB, a few minutes)"
	@rm -rf .venv
	@"$(INTERPRETER)" -m venv .venv
	@sed -n '/^uv==/,/# via/p' requirements.lock | $(PIP) -r /dev/stdin
	@.venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes -r requirements.lock || \
		{ echo "uv failed; installing with pip, slower"; $(PIP) -r requirements.lock; } # an index named in pip.conf alone
	@.venv/bin/python -m compileall -qq -j 0 -x '/tests?/' .venv/lib || true # on all cores; some cannot be compiled
	@echo "$(WANTED)" > $(STAMP)
endif

quickstart: environment
	.venv/bin/snakemake --cores 2 --configfile config/quickstart.yaml
	@.venv/bin/python workflow_scripts/show_headline.py results/tables/headline.csv results/reports/index.html

audit: $(if $(and $(MODEL),$(DATA)),environment)
	$(if $(and $(MODEL),$(DATA)),,$(error MODEL=network.tflite and DATA=folder of class folders are needed))
	@.venv/bin/python workflow_scripts/audit_model.py '$(subst ','\'',$(MODEL))' '$(subst ','\'',$(DATA))' \
		$(foreach option,RANGE MEAN DEVIATION ORDER LABELS,\
			$(if $($(option)),'--$(shell echo $(option) | tr A-Z a-z)=$(subst ','\'',$($(option)))'))

test: environment
	.venv/bin/python -m pytest -q -n 2 --dist worksteal

lint: environment
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/snakefmt --check Snakefile rules
	.venv/bin/snakemake --lint

lock: environment
	.venv/bin/uv pip compile requirements.in --universal --generate-hashes --python-version 3.11 -o requirements.lock --no-header --quiet
	@$(MAKE) --no-print-directory environment
	PYTHONPATH=workflow_scripts .venv/bin/python -m qnn_robustness.common.environment write

benchmark: environment
	.venv/bin/python benchmarks/integer_model.py
	.venv/bin/python benchmarks/attacks.py

clean:
	rm -rf .venv .pytest_cache .hypothesis .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
