"""Versions of what a result depends on."""

import sys

PACKAGES = ("retort", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "numpy")


def versions() -> dict[str, str]:
    """Python's and those of the packages that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
