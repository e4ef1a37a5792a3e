"""`retort serve-rollouts MODEL`: vLLM in its own environment, ready to be sent weights while it runs."""

import argparse
import os
import shlex
import shutil
import subprocess
from pathlib import Path

from eval.vllm.process import Serving
from pipeline.contract.errors import CommandError
from pipeline.store.model_reference import model_of
from rewards.lazy import lazy

with lazy:
    import torch

    from pipeline.models import pretrained


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a folder, a hub id, or RUN:STAGE: any model of the architecture that is to be "
                                      "trained, whose weights are sent later")
    parser.add_argument("--python", required=True, help="interpreter of an environment with vLLM, /opt/vllm/bin/python")
    parser.add_argument("--host", default="127.0.0.1",
                        help="address to listen on (default: 127.0.0.1); who reaches it can replace the model")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="of weights (default: as they were saved)")
    parser.add_argument("--gpu-memory", type=float, default=0.9, help="share of each GPU's memory (default: 0.9)")
    parser.add_argument("--tensor-parallel", type=int, default=1, help="GPUs that the model is split over (default: 1)")
    parser.add_argument("--experts", action="store_true", help="tell which experts tokens took (GPUs alone), for "
                                                               "replay: rollout")
    parser.add_argument("--dry-run", action="store_true", help="print the command, and start nothing")


def main(args: argparse.Namespace) -> int:
    model = _model(args.model)
    config = pretrained.config_of(model)
    quantized = (config.get("quantization_config") or {}).get("quant_method")
    if quantized:
        # By its source vLLM looks for quantized experts of a gpt-oss alone, and goes on with those that it has.
        raise CommandError(f"{args.model} is quantized ({quantized}), and the weights that are sent "
                           "later are not, so that vLLM may keep those that it has; write a widened copy with "
                           f"`retort export {args.model} --to vllm`, and serve that")
    saved = args.dtype or config.get("dtype")
    if saved is None:
        raise CommandError(f"{args.model} does not say what its weights are in; give --dtype float32 or bfloat16")
    dtype = str(saved).removeprefix("torch.")
    serving = Serving(args.python, dtype, args.gpu_memory, args.tensor_parallel, args.experts,
                      on_processors=not torch.cuda.is_available())
    # Other arguments of vLLM's can be added to what this prints.
    command = serving.command(str(model), args.host, args.port)
    if args.dry_run:
        print(shlex.join([*(f"{name}={value}" for name, value in serving.environment().items()), *command]))
        return 0
    if shutil.which(args.python) is None:
        raise CommandError(f"there is no program {args.python}; --python is that of an environment with vLLM")
    return subprocess.run(command, env={**os.environ, **serving.environment()}, check=False).returncode


def _model(named: str) -> Path | str:
    folder, _ = model_of(named)
    return folder / "model" if isinstance(folder, Path) and (folder / "model").is_dir() else folder
