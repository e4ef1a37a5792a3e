"""Where tools are found by name, module or file."""

from collections.abc import Callable

from rewards.registry import Registry

Function = Callable[..., object]
"""A tool: a function with a docstring in Google's form and a type for every argument, from which transformers makes
the JSON schema that models are told of. What it returns is told as text."""

TOOLS: Registry[Function] = Registry(
    "tool",
    {
        "calculator": "eval.tools.calculator:calculator",
        "python": "eval.tools.programs:python",
        "search": "eval.tools.search:search",
    },
    entry_points="retort.tools",
)
