"""`retort doctor`: how isolated model-written programs run here, and what the machine and the packages are."""

import argparse
import importlib.util
import platform

from pipeline.run.versions import versions
from rewards.lazy import lazy
from rewards.sandbox.pool import sandbox
from rewards.sandbox.processes import SandboxError
from rewards.workers import cores

with lazy:
    import torch


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show how isolated model-written programs run here (see SECURITY.md), and what the machine and the packages "
        "are."
    )


def main(_: argparse.Namespace) -> int:
    found = versions()
    rows = [
        *_sandbox(),
        ("machine", f"{platform.system()} {platform.release()}, {platform.machine()}, {cores()} cores"),
        ("python", found.pop("python")),
        ("packages", ", ".join(f"{name} {version}" for name, version in found.items()) or "none of them is installed"),
        ("devices", _devices()),
    ]
    for name, text in rows:
        print(f"{name:<10}{text}")
    return 0


def _sandbox() -> list[tuple[str, str]]:
    try:
        report = sandbox.report()
    except SandboxError as error:
        return [("sandbox", f"no program can be run: {error}")]
    tried = ", ".join(f"{name} {f'fails ({error})' if error else 'WORKS'}" for name, error in report.refused.items())
    layers = [(f"  {layer}", why or "works") for layer, why in report.layers.items()]
    width = max(len(name) for name, _ in layers) + 1
    return [
        ("sandbox", f"{report.level.name}, {report.level.summary}"),
        *(("", f"{name:<{width}}{text}") for name, text in layers),
        ("", f"  tried in a program: {tried}"),
    ]


def _devices() -> str:
    if importlib.util.find_spec("torch") is None:
        return "unknown: torch is not installed"
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return ", ".join(names) or ("Apple GPU" if torch.backends.mps.is_available() else "no GPU")
