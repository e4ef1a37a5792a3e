"""How code problems are asked, and what programs find imported, as the graders of the data sets have it."""

ENDING = "Put the whole program into one fenced block of Python code."

SCRIPT = f"Write a Python program that reads from standard input and prints to standard output. {ENDING}"

PRELUDE = """\
import bisect, collections, copy, datetime, functools, heapq, itertools, json, math, operator, random, re, string, sys
from bisect import *
from collections import *
from copy import *
from functools import *
from heapq import *
from itertools import *
from math import *
from typing import *
from builtins import *
"""
"""Before programs of contests: their code to start from says `List[int]` without an import. `builtins` is last, since
math has a `pow` of its own."""


def with_starter(question: str, starter: str, entry: str) -> str:
    """A question whose answer is a function, with the code to start from where there is some."""
    if starter.strip():
        return (f"{question.strip()}\n\nComplete this Python code:\n\n```python\n{starter.strip()}\n```\n\n{ENDING}\n")
    return f"{question.strip()}\n\nWrite the Python function `{entry}`. {ENDING}\n"


def as_script(question: str) -> str:
    """A question whose answer is a program that reads and prints."""
    return f"{question.strip()}\n\n{SCRIPT}\n"
