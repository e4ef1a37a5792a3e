"""Starting a vLLM server in its own environment."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eval import launchers
from eval.errors import ServerError
from eval.vllm.server import MODEL, VllmServer

WORKER = Path(__file__).parent / "worker"

PATIENCE = 1800.0
"""Seconds after which a server that has not come up is given up: large models take minutes to load and to compile."""

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Serving:
    """How a model is served.

    python           the interpreter of an environment in which vLLM is installed
    dtype            of weights and computation; vLLM's own "auto" makes bfloat16 of float32
    gpu_memory       share of each GPU's memory that vLLM takes
    tensor_parallel  GPUs that the model is split over
    experts          whether answers tell which experts were taken. vLLM 0.32 does so by the second version of its
                     model runner, which it takes by itself on GPUs; on processors that wants a Triton for them, which
                     no package has (tests/real/interpreted_triton.py gives it one that is slow)
    devices          the GPUs, as CUDA_VISIBLE_DEVICES has them; those that this process sees
    on_processors    whether there are none. Prompts are then read whole: of a part vLLM 0.32 draws a token that it
                     takes back, and with a seed it cannot do so on processors ("CPU Generator does not use offset",
                     after which the engine is dead; github.com/RBLN-SW/vllm-rbln/pull/1025 tells of it)
    """

    python: str
    dtype: str
    gpu_memory: float = 0.9
    tensor_parallel: int = 1
    experts: bool = False
    devices: str | None = None
    on_processors: bool = False

    def environment(self) -> dict[str, str]:
        """What the server needs of its environment: calls to its workers, the file that they load, the model runner
        that tells experts, and its GPUs."""
        devices = {"CUDA_VISIBLE_DEVICES": self.devices} if self.devices else {}
        runner = {"VLLM_USE_V2_MODEL_RUNNER": "1"} if self.experts else {}
        return {"VLLM_SERVER_DEV_MODE": "1", "VLLM_NO_USAGE_STATS": "1", "PYTHONPATH": str(WORKER), **runner, **devices}

    def command(self, model: str, host: str, port: int) -> list[str]:
        """The command line; `environment` has to be set."""
        return [
            self.python, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--served-model-name", MODEL,
            "--host", host, "--port", str(port), "--dtype", self.dtype,
            "--gpu-memory-utilization", str(self.gpu_memory), "--tensor-parallel-size", str(self.tensor_parallel),
            "--worker-extension-cls", "retort_vllm_worker.Weights",
            # of the tempered distribution, which tokens are drawn from, as `Sampled` has them
            "--logprobs-mode", "processed_logprobs",
            # a model's own defaults would narrow what is drawn from, wherever a request does not say otherwise
            "--generation-config", "vllm",
            *(["--enable-return-routed-experts"] if self.experts else []),
            *(["--no-enable-chunked-prefill"] if self.on_processors else []),
            # In a graph that was compiled for processors nothing is noted down: every expert is told to be 0.
            *(["--enforce-eager"] if self.on_processors and self.experts else []),
        ]


@contextlib.contextmanager
def started(serving: Serving, model: Path, log: Path) -> Iterator[VllmServer]:
    """A server of `model` on this machine for as long as the block lasts; it writes into `log`. Raises ServerError
    where it does not come up."""
    port = _free_port()
    # This process may be one of several, and the server is none of them.
    environment = {**launchers.without(os.environ), **serving.environment()}
    with log.open("ab") as file:
        process = subprocess.Popen(
            serving.command(str(model), "127.0.0.1", port), env=environment, stdin=subprocess.DEVNULL, stdout=file,
            stderr=file, preexec_fn=_end_with_parent, start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(process, url, log)
        yield VllmServer(url)
    finally:
        _end(process)


def _wait_for(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    begun = time.monotonic()
    # The environment's proxy is for other machines.
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while process.poll() is None and time.monotonic() - begun < PATIENCE:
        with contextlib.suppress(OSError), directly.open(f"{url}/health", timeout=5):
            return
        time.sleep(0.5)
    raise ServerError(f"the vLLM server does not come up: {_last_error(log)} (all of it: {log})")


def _last_error(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line]
    return next(iter(errors[-1:] or lines[-1:]), "it says nothing")[-300:]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server, politely first; its workers are processes of its group."""
    for ending in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, ending)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
    process.wait()


def _end_with_parent() -> None:
    # A stage that is killed cannot end its server, which would keep its memory. SIGTERM, since workers have to be ended
    # by the server; other systems than Linux have no such request.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
