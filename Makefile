# Two commands matter: `make run` shows a demo stream, `make test` checks everything.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FUZZ_INPUTS ?= 1000000
MINUTES ?= 60
JOINS ?= 10000
MEASURING := tests/e2e/test_lossy.py tests/e2e/test_library_links.py

.PHONY: run test lint types format bench fuzz binary soak clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

run: $(STAMP) ## set up, start the server and a demo device, print the URL to open
	$(BIN)/aiosfu serve --demo

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.helpers.typescript --check

types: $(STAMP) ## what follows from the browser's modules: the library's .d.ts files, and what the pages preload
	$(BIN)/python -m tests.helpers.typescript --write
	$(BIN)/python -m tests.helpers.preloads

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(STAMP) lint ## everything: lint, unit tests, real media, real browser
	$(BIN)/python -m tests.helpers.browser --install
	$(BIN)/python -m pytest $(MEASURING) # alone: another browser beside them makes pictures late
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/benchmarks tests/e2e $(MEASURING:%=--ignore %) # a browser is busy, also when it waits
	$(BIN)/python -m pytest -n 3 --dist loadfile --ignore tests/benchmarks --ignore tests/e2e # most of these is waiting

bench: $(STAMP) ## every benchmark, some 15 minutes on a quiet machine; as root also against Janus
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python -m tests.benchmarks

fuzz: $(STAMP) ## a million hostile inputs for each decoder, some 40 minutes on one core
	$(BIN)/python -m tests.fuzz --inputs $(FUZZ_INPUTS)

binary: $(STAMP) ## dist/aiosfu, one file that runs without Python, and its own end-to-end test
	$(BIN)/python -m deploy.binary
	$(BIN)/python -m tests.helpers.browser --install
	$(BIN)/python -m pytest tests/packaging/binary_e2e.py

soak: $(STAMP) ## an hour of viewers and devices that come and go; MINUTES=5 JOINS=3000 for a short one
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python -m tests.soak --minutes $(MINUTES) --joins $(JOINS)

clean:
	rm -rf build dist $(VENV) .mypy_cache .pytest_cache .ruff_cache
