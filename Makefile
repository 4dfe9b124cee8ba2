# Everything runs in .venv; `make demo` and `make test` set it up themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATASET ?= sample
DATA ?=
OUT ?= runs/$(DATASET)
OP ?=
BENCH ?=
REPRODUCE ?=
GPU_CHECK ?=
EMULATE ?=
FUZZ ?=
FUZZ_SECONDS ?= 20
TORCH ?=
# With `make -j` ninja would ask make for leave through file descriptors that recipes do not get.
unexport MAKEFLAGS
SOURCES := CMakeLists.txt setup.py pyproject.toml $(shell find csrc -type f)

# Torch first and pinned: a CPU build is taken where one is offered, the stock wheel elsewhere. The
# build then uses that torch (no isolated build environment, which would fetch another).
$(VENV)/installed: requirements.txt requirements-torch.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements-torch.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.txt
	touch $@

# HASHGCN_CUDA=auto|0|1: the CUDA library is built where nvcc is found; 1 fails without it, 0 skips it.
# HASHGCN_WERROR=ON: warnings are errors. MAX_JOBS: compilers at a time.
$(VENV)/built: $(VENV)/installed $(SOURCES)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pip install -q --disable-pip-version-check \
	  --no-build-isolation --no-deps -e .
	touch $@

.PHONY: build demo test test-slow test-docs test-cuda test-emulate fuzz gpu-check gpu-carry lint format bench bench-report reproduce docs wheel kernels sanitize stubs clean

build: $(VENV)/built

demo: build
	$(BIN)/python tools/demo.py $(DATASET) $(if $(DATA),--data $(DATA)) --out $(OUT)

# Files of tests side by side. Threads that wait leave their core to another process.
test: build
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n auto --dist loadfile

test-slow: build
	$(BIN)/python -m pytest -m slow

# The code of the documentation's pages, and what they show as its output.
test-docs: build
	$(BIN)/python -m pytest -m docs

test-cuda: build
	$(BIN)/python -m pytest -m cuda tests/ops/test_cuda.py

# The CUDA kernels as host code, sanitized: needs neither a GPU nor nvcc. EMULATE: options of pytest.
test-emulate: build
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tools/emulate.py $(EMULATE)

# What reads files, on inputs guided by coverage. FUZZ: targets, all if left out; FUZZ_SECONDS: for each.
$(VENV)/fuzz-installed: $(VENV)/installed requirements-fuzz.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements-fuzz.txt
	touch $@

fuzz: build $(VENV)/fuzz-installed
	$(BIN)/python tools/fuzz.py $(FUZZ) --seconds $(FUZZ_SECONDS)

# Needs no network: takes .venv's Python, or PYTHON with its packages where there is no .venv.
# GPU_CHECK: parts and options, see the script.
gpu-check:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) tools/gpu_check.py $(GPU_CHECK)

# Fills build/gpu-carry for a GPU machine without a network. DATA: folder with gowalla and yelp2018.
gpu-carry: $(VENV)/installed
	$(BIN)/python tools/gpu_carry.py $(if $(DATA),--data $(DATA))

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/op_checklist.py
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files 'csrc/*.h' 'csrc/*.cpp' '*.cu' 'csrc/*.cuh')

# Signatures of the methods for editors and mypy, made from their settings: hashgcn/models/methods.pyi.
stubs: build
	$(BIN)/python tools/stubs.py

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files 'csrc/*.h' 'csrc/*.cpp' '*.cu' 'csrc/*.cuh')

# The libraries that the benchmarks compare with.
$(VENV)/bench-installed: $(VENV)/installed requirements-bench.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements-bench.txt
	touch $@

# OP=hamming_topk: that file alone; OP=scaling: the curves. BENCH: further options.
bench: build $(VENV)/bench-installed
	$(BIN)/python -m benchmarks.ops $(OP) $(BENCH)

# The page of the measured rows, with tables and pictures: build/report.
bench-report: build
	$(BIN)/python -m benchmarks.report

# The published table beside ours. REPRODUCE: rows and options, e.g. "table --data data --run".
reproduce: build
	$(BIN)/python -m benchmarks.quality $(REPRODUCE)

# The documentation as a site: build/site. Tables that follow from the code or from results are brought
# up to date first. A broken link and a page outside of the menu are errors.
$(VENV)/docs-installed: $(VENV)/installed requirements-docs.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements-docs.txt
	touch $@

docs: build $(VENV)/docs-installed
	$(BIN)/python docs/tables.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# dist: the source, and a wheel for this Python and every torch from 2.10 on; installed and tried in an
# environment of its own; TORCH="2.10.0": also with these versions, up to 7 GB each, and against their
# headers. build/lib is the wheel's: a module that is gone would stay in it.
wheel: $(VENV)/installed
	rm -rf build/lib* build/bdist*
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pip wheel -q --disable-pip-version-check \
	  --no-build-isolation --no-deps -w dist .
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -c \
	  "from setuptools.build_meta import build_sdist; build_sdist('dist')" >build/sdist.log
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tools/try_wheel.py dist $(TORCH)

# Registers, shared memory and spills of every CUDA kernel: build/kernels.md. Needs nvcc.
kernels: $(VENV)/installed
	$(BIN)/python tools/kernels.py

# The CPU ops' tests with address and undefined-behaviour sanitizers.
sanitize: build
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tools/sanitize.py

clean:
	rm -rf build dist hashgcn/lib hashgcn/_numpy*.so $(VENV)/built
