# twinfs: `make demo` shows it, `make test` tests it. Both set the machine up first, where something is missing.

BIN := .venv/bin
PYTEST_ARGS ?=
# Two files of tests at a time: most of them wait for a mount, a disk or a clock.
PYTEST_JOBS ?= 2

.PHONY: help demo test setup setup-run setup-test lint format soak fuzz bench install uninstall clean
# Set-up and tests share .venv and the machine's mounts.
.NOTPARALLEL:

help:
	@echo "make demo       mount a mirrored volume over two scratch folders and watch it work"
	@echo "make test       linters and tests (PYTEST_ARGS=... goes to pytest)"
	@echo "make setup      what both need: Debian packages (as root), .venv, twinfs in it"
	@echo "make lint       ruff, mypy --strict, import-linter"
	@echo "make format     let ruff rewrite"
	@echo "make soak       the long tests: kills under load, soaks"
	@echo "make fuzz       damaged disk images, led by coverage (FUZZ_SECONDS=40 for each format, FUZZ_FORMATS=...)"
	@echo "make bench      compare speeds with a plain folder and with other file systems (BENCH_ARGS=--help)"
	@echo "make install    as root: twinfs and its mount helpers for the whole machine (PREFIX=/usr/local)"
	@echo "make uninstall  take that away again"
	@echo "make clean      remove .venv and everything generated"

setup: setup-test

# setup.sh knows by itself what is done already: then it takes a quarter of a second.
setup-run:
	@tools/setup.sh run

setup-test:
	@tools/setup.sh test

demo: setup-run
	@$(BIN)/python tools/demo.py

test: setup-test lint
	$(BIN)/python tools/run_tests.py -n $(PYTEST_JOBS) --dist loadfile $(PYTEST_ARGS)

lint: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: setup-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

soak: setup-test
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

fuzz: setup-test
	PYTHONPATH=tests $(BIN)/python -m images.fuzz_formats $(FUZZ_FORMATS)

bench: setup-test
	$(BIN)/python tools/bench $(BENCH_ARGS)

install:
	@tools/setup.sh install

uninstall:
	@tools/setup.sh uninstall

clean:
	rm -rf .venv build dist *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tools tests -name __pycache__ -type d -prune -exec rm -rf {} +
