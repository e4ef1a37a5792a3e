#!/usr/bin/env bash
# What a bare machine with torch, transformers and accelerate lacks, into benchmarks/gpu/wheels: run where there is an index.
set -euo pipefail
cd "$(dirname "$0")"
python3 -m pip download --only-binary :all: --no-deps -d wheels -c ../../constraints.txt \
    trl peft datasets math-verify latex2sympy2-extended antlr4-python3-runtime pyarrow dill multiprocess xxhash pydantic \
    pydantic-core annotated-types typing-inspection pandas python-dateutil six
