"""`retort clean`: removes what no run needs any more."""

import argparse

from pipeline.commands.run import runs_argument
from pipeline.contract.errors import CommandError
from pipeline.store.cleaning import put_aside, remove, size, unneeded


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--delete", action="store_true", help="remove what is listed; without it nothing is touched")
    runs_argument(parser)


def main(args: argparse.Namespace) -> int:
    if not args.runs.is_dir():
        raise CommandError(f"{args.runs}: there is no such folder")
    total = 0
    # Counting and removing may take hours, in which a run may begin.
    places = put_aside(args.runs) if args.delete else {path: path for path in unneeded(args.runs)}
    for path, place in places.items():
        total += (found := size(place))
        print(f"{found / 1e6:8.1f} MB  {path}")
        if args.delete:
            remove(place)
    if args.delete:
        print(f"removed {total / 1e6:.1f} MB")
    else:
        print(f"{total / 1e6:.1f} MB that no run needs{'; add --delete to remove it' if total else ''}")
    return 0
