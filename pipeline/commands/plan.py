"""`retort plan`: each stage of a recipe, what it reads, its fingerprint, and whether it is made already; with `--on`,
what it takes of a device's memory and time, and what that costs."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.commands.run import recipe_arguments
from pipeline.contract.errors import CommandError
from pipeline.costs import devices
from pipeline.costs.assumptions import Assumptions
from pipeline.costs.devices import DEVICES, GIB, THIS, Device
from pipeline.recipe import fingerprint, inputs, recipe, trust
from pipeline.run.before import contexts, precision, reads
from pipeline.store.store import Artifact, Store
from pipeline.store.verify import known_faults_of
from rewards import plugin_files
from rewards.lazy import lazy
from rewards.terminal import raw

with lazy:
    from pipeline.costs import table as costs
    from pipeline.costs.estimate import devices_of, estimates
    from pipeline.costs.machine import libraries, this_machine

if TYPE_CHECKING:
    from pipeline.costs.estimate import Estimate

CUDA = 1.0
"""GiB that CUDA's context and the libraries hold of a GPU."""

SHARES = {"gpu": (0.4, 0.25, 0.3), "processor": (0.5, 0.35, 0.3)}
"""mfu, mfu_mixture and bandwidth, where they are not given."""


def configure(parser: argparse.ArgumentParser) -> None:
    recipe_arguments(parser)
    parser.add_argument("--trust", action="store_true",
                        help="run plug-in files that no run of yours has used, as `run` does; otherwise they are told")
    parser.add_argument("--on", metavar="DEVICE",
                        help="reckon memory, hours and money on devices such as 8xh100, or on `this` machine")
    parser.add_argument("--price", type=float, metavar="DOLLARS", help="of a device and hour, with --on")
    parser.add_argument("--mfu", type=float, metavar="SHARE",
                        help="share of a device's arithmetic that training reaches, with --on; of mixtures, too")


def main(args: argparse.Namespace) -> int:
    _check(args)
    with nullcontext() if args.trust else plugin_files.running_only(trust.is_trusted):
        read = recipe.read(args.recipe, args.sets, resolve_hub=_reachable if args.on else inputs.resolve_hub)
    if args.trust:
        trust.remember(file.parent for file in plugin_files.run_so_far())
    contexts.check(read, exactly=False)
    precision.check(read.steps.values())
    reads.check(read, exactly=False)
    if args.on:
        return _with_money(args, read)
    store = Store(args.runs)
    prints = fingerprint.of_recipe(read, store.hashes)
    rows = []
    for name, step in read.steps.items():
        made = store.find(name, prints[name])
        rows.append((name, step.kind, type(step.config).makes, prints[name].short, _state(made, store),
                     ", ".join(step.sources) or "-"))
    print(f"{read.name}  seed {read.seed}  {read.parallel} CPU slots  {read.file}")
    print(table(("stage", "kind", "makes", "fingerprint", "state", "reads"), rows))
    return 0


def _check(args: argparse.Namespace) -> None:
    """Raises CommandError, before anything is read."""
    if args.on is None:
        for name, given in (("--price", args.price), ("--mfu", args.mfu)):
            if given is not None:
                raise CommandError(f"{name} is for a plan with --on")
    else:
        devices.parse(args.on)
    if args.price is not None and not 0 <= args.price < 1e6:
        raise CommandError(f"--price {args.price:g}: dollars for a device and hour are from 0 to a million")
    if args.mfu is not None and not 0 < args.mfu <= 1:
        raise CommandError(f"--mfu {args.mfu:g}: it is a share, above 0 and up to 1")


def _reachable(source: inputs.Source) -> str:
    """The commit of what is on the hub; nothing where it is out of reach, which a stage's line says then."""
    try:
        return inputs.resolve_hub(source)
    except inputs.InputError:
        return ""


def _with_money(args: argparse.Namespace, read: recipe.Recipe) -> int:
    count, name = devices.parse(args.on)
    used = devices_of(read)
    if count < used and name != THIS:  # of which there is one, and no hour of it costs anything
        raise CommandError(f"--on {args.on}: the recipe works on {used} devices at once, by its accelerate config or "
                           f"tensor_parallel of a server: write --on {used}x{name}")
    device = this_machine(max(step.config.threads for step in read.steps.values())) if name == THIS else DEVICES[name]
    assumed = _assumed(args, read, device)
    found = [*_estimates(read, device, assumed)]
    print(f"{read.name} on {count}x{name}, {read.file}; GiB are of one device")
    print(table(costs.HEADER, [*costs.rows(found, count)]))
    for line in costs.lines(found, device, count, used):
        print(line)
    print("assumed:")
    for line in costs.assumptions(assumed, device):
        print(f"  {line}")
    return 0


def _estimates(read: recipe.Recipe, device: Device, assumed: Assumptions) -> "Iterator[Estimate]":
    """Of each stage. On a terminal a line tells which one is reckoned: four of a mixture of 30B take a minute."""
    reckoned = estimates(read, device, assumed)
    shows = sys.stderr.isatty()
    for place, name in enumerate(read.steps, 1):
        if shows:
            print(f"\r\x1b[Kreckons {name}, {place} of {len(read.steps)}", end="", file=raw(sys.stderr), flush=True)
        yield next(reckoned)
    if shows:
        print("\r\x1b[K", end="", file=raw(sys.stderr), flush=True)


def _assumed(args: argparse.Namespace, read: recipe.Recipe, device: Device) -> Assumptions:
    dense, mixture, bandwidth = SHARES["processor" if device.processor else "gpu"]
    modules = dict.fromkeys(name for step in read.steps.values() for name in step.config.preload)
    besides = libraries(modules) if device.processor else int(CUDA * GIB)
    price = device.price if args.price is None else args.price
    assumed = Assumptions(price, dense, mixture, bandwidth, besides)
    return assumed if args.mfu is None else replace(assumed, mfu=args.mfu, mfu_mixture=args.mfu)


def _state(made: Artifact | None, store: Store) -> str:
    if made is None:
        return "would run"
    # Files that were never read are not read for this: `run` does so before it uses them.
    return "changed since it was made" if known_faults_of(made, store.hashes) else "done"


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Columns as wide as their widest cell, two spaces apart."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
             for row in [header, *rows])
    return "\n".join(lines)
