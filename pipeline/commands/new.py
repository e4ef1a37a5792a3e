"""`retort new`: a recipe, a stage, problems, a verifier or a rule of your own, with a test beside it that passes."""

import argparse
import importlib.util
import keyword
import re
import sys
import sysconfig
from pathlib import Path

from pipeline.authoring.templates import TEMPLATES, Template, class_name
from pipeline.commands import guard
from pipeline.contract.errors import CommandError
from pipeline.recipe import trust
from pipeline.recipe.plugins import registry_of
from pipeline.recipe.recipe import shipped
from rewards.registry import did_you_mean

_LISTS = {"stage": "stage", "problems": "problem set", "verifier": "verifier", "rule": "rule"}
"""The registry of each kind of plug-in."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="WHAT",
                        help="; ".join(f"{name}: {one.told}" for name, one in TEMPLATES.items()))
    parser.add_argument(
        "name", metavar="NAME", help="its name, and the file's: NAME.py (of a recipe NAME.yaml), with test_NAME.py "
                                     "beside it"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path(), metavar="FOLDER", help="where to write them (default: here)"
    )


def main(args: argparse.Namespace) -> int:
    if args.what not in TEMPLATES:
        raise CommandError(f"retort new: there is no template of {args.what!r}{did_you_mean(args.what, TEMPLATES)}")
    template = TEMPLATES[args.what]
    if args.what == "recipe":
        _check_recipe(args.name)
    else:
        _check_plug_in(args.name, template)
    if not args.folder.is_dir():
        raise CommandError(f"retort new: there is no folder {args.folder}")
    files = [args.folder / name for name in template.names(args.name)]
    for file in files:
        if file.exists():
            raise CommandError(f"retort new: {file} exists; choose another name, or --folder")
    for file, text in zip(files, template.texts(args.name), strict=True):
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    trust.remember([args.folder])
    file, test = files
    print(f"wrote {file} and {test}")
    for what, how in template.steps.items():
        told = how.format(file=file, test=test, name=file.name, stem=args.name, Name=class_name(args.name))
        print(f"  {what:<16}{told}")
    return 0


def _check_recipe(name: str) -> None:
    """Raise CommandError unless a recipe and its run may be called so, and no other is."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,59}", name):
        raise CommandError(f"retort new: a recipe's name is a word such as my_recipe, not {name!r}")
    if name in shipped():
        raise CommandError(f"retort new: there is a recipe called {name!r} already; retort list recipes shows them")


def _check_plug_in(name: str, template: Template) -> None:
    """Raise CommandError unless a file and what is in it may be called so without hiding anything."""
    what = template.what
    if not name.isidentifier() or keyword.iskeyword(name) or not name.isascii() or not class_name(name):
        named = "problem set" if what == "problems" else what
        raise CommandError(f"retort new: a {named}'s name is a Python name such as my_{what}, not {name!r}")
    kind = _LISTS[what]
    if name in registry_of(kind):
        raise CommandError(
            f"retort new: there is a {kind} called {name!r} already; retort list {what.removesuffix('s')}s shows them"
        )
    if name in sys.stdlib_module_names or name in guard.PACKAGES or _is_installed(name):
        raise CommandError(f"retort new: a file {name}.py would hide the Python module {name!r}; choose another name")
    taken = template.taken()
    for one in (name, class_name(name)) if what == "stage" else (name,):
        if one in taken:
            raise CommandError(f"retort new: the file would use the name {one!r} for two things; choose another name")


def _is_installed(name: str) -> bool:
    """Whether a module of that name was installed; one that is found since it lies in a folder of one's own was not."""
    spec = importlib.util.find_spec(name)
    places = [spec.origin or "", *(spec.submodule_search_locations or ())] if spec else []
    installed = [sysconfig.get_path(kind) for kind in ("purelib", "platlib")]
    return any(Path(place).is_relative_to(folder) for place in places for folder in installed)
