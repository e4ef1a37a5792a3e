#!/usr/bin/env bash
# Everything worth knowing of one GPU, in at most nine minutes, with no index and no hub: OUT/gpu.json.
# torch, transformers and accelerate are the machine's; what else is needed lies in wheels/ (wheels.sh fetches it).
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
out="${OUT:-.}"
python3 -m venv --system-site-packages "$here/.venv"
"$here/.venv/bin/pip" install --disable-pip-version-check -qq --no-index --no-deps "$here"/wheels/*.whl
export PYTHONPATH="$here/../.." HF_HUB_OFFLINE=1
timeout 540 "$here/.venv/bin/python" "$here/measure.py" "$out/gpu.json" "$@"
