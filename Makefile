# make demo | test | test-all | test-avx2 | lint | clean: each makes the virtual environment if it is
# missing.
PYTHON ?= python3
VENV ?= .venv
INSTALLED = $(VENV)/.installed
# Worker processes of the tests. A file's tests share their fixtures, and stay together.
WORKERS ?= 2
PYTEST = $(VENV)/bin/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-all test-avx2 lint clean

demo: $(INSTALLED)
	FORECAST=$(VENV)/bin/forecast docs/demo.sh

# All but the long ones.
test: $(INSTALLED)
	$(PYTEST) -m "not slow"

test-all: $(INSTALLED)
	$(PYTEST)

# Tests that depend on the instruction set, with that of a CPU without AVX-512.
test-avx2: $(INSTALLED)
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 $(PYTEST) -m isa

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Again when the dependencies change.
$(INSTALLED): pyproject.toml
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable '.[dev]'
	touch $@
