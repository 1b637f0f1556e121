# Two commands matter: `make run` shows a demo stream, `make test` checks everything.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Not compiled in advance: most of what is installed is never imported.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
FUZZ_INPUTS ?= 1000000
MINUTES ?= 60
JOINS ?= 10000
TEST_JOINS := 300
MEASURING := tests/e2e/test_lossy.py tests/e2e/test_library_links.py
BROWSERS := tests/benchmarks/test_quick_browser.py tests/e2e
BESIDE := $(wildcard tests/test_*.py) tests/sfu tests/fuzz tests/packaging tests/soak

.PHONY: run test _others _browsers _beside _soak lint _lint_python _lint_browser types format bench fuzz binary soak clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[dev,bench]'
	touch $(STAMP)

run: $(STAMP) ## set up, start the server and a demo device, print the URL to open
	$(BIN)/aiosfu serve --demo

lint: _lint_python _lint_browser

_lint_python: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

_lint_browser: $(STAMP)
	$(BIN)/python -m tests.helpers.typescript --check

types: $(STAMP) ## what follows from the browser's modules: the library's .d.ts files, and what the pages preload
	$(BIN)/python -m tests.helpers.typescript --write
	$(BIN)/python -m tests.helpers.preloads

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(STAMP) ## everything: lint, unit tests, real media, real browser, five minutes of soak beside them
	@$(MAKE) --no-print-directory --jobs 2 --output-sync lint
	$(BIN)/python -m tests.helpers.browser --install
	$(BIN)/python -m pytest $(MEASURING) # alone: another browser beside them makes pictures late
	@mkdir -p build
	@$(MAKE) --no-print-directory --jobs 2 _others _soak; status=$$?; cat build/soak.log; exit $$status

_others:
	@$(MAKE) --no-print-directory --jobs 2 _browsers _beside; status=$$?; cat build/beside.log; exit $$status
	$(BIN)/python -m pytest -n 4 --dist loadfile $(BROWSERS:%=--ignore %) $(BESIDE:%=--ignore %) # most of these is waiting

_browsers: # two workers: a browser is busy, also when it waits
	$(BIN)/python -m pytest -n 2 --dist loadfile $(BROWSERS) $(MEASURING:%=--ignore %)

_beside: # what two browsers leave of two cores is enough for these
	@exec $(BIN)/python -m pytest $(BESIDE) >build/beside.log 2>&1

_soak: # a join takes some 70 ms of CPU, so this is a tenth of a core; it lasts longest, and the others run meanwhile
	@exec $(BIN)/python -m tests.soak --minutes 5 --joins $(TEST_JOINS) --output build >build/soak.log 2>&1

bench: $(STAMP) ## every benchmark, some 15 minutes on a quiet machine; as root also against Janus
	$(BIN)/python -m tests.benchmarks

fuzz: $(STAMP) ## a million hostile inputs for each decoder, some 40 minutes on one core
	$(BIN)/python -m tests.fuzz --inputs $(FUZZ_INPUTS)

binary: $(STAMP) ## dist/aiosfu, one file that runs without Python, and its own end-to-end test
	$(BIN)/python -m deploy.binary
	$(BIN)/python -m tests.helpers.browser --install
	$(BIN)/python -m pytest tests/packaging/binary_e2e.py

soak: $(STAMP) ## an hour of viewers and devices that come and go; MINUTES=5 JOINS=3000 for a short one
	$(BIN)/python -m tests.soak --minutes $(MINUTES) --joins $(JOINS)

clean:
	rm -rf build dist $(VENV) .mypy_cache .pytest_cache .ruff_cache
