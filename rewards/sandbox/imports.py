"""Which modules a program may import: a list of the standard library's, loaded before it runs, since it can open no
file.

The grader finds the names in the program and the zygote loads those on the list, so the program's text never enters the
zygote: what a later program finds in its memory tells nothing of an earlier one. A program has what it names itself and
no module that only an earlier one named (shelf.py). Nothing outside the standard library
but NumPy can be imported, nor what is left out here: modules that open, connect or start something, and those of huge
size. NumPy is in zygotes of its own, since it makes each fork several times as dear.
"""

import re

# Few, since every mapped page makes each fork dearer; the others are loaded when a program first names them.
PRELOADED = (
    "bisect", "collections", "copy", "functools", "heapq", "itertools", "json", "math", "operator", "re", "string",
    "typing",
)  # fmt: skip

# Codecs, which are modules too, that programs ask for by no import.
CODECS = tuple(f"encodings.{name}" for name in (
    "ascii", "base64_codec", "cp1252", "hex_codec", "latin_1", "rot_13", "utf_16", "utf_16_be", "utf_16_le", "utf_32",
    "utf_32_be", "utf_32_le", "utf_8_sig",
))  # fmt: skip

# Loaded with the event loop of event_loop.py, which opens nothing.
ASYNCIO = ("asyncio", "asyncio.exceptions", "asyncio.locks", "asyncio.queues", "asyncio.tasks")

REACHING_OUT = ("socket", "ssl", "subprocess", "_posixsubprocess", "selectors")
"""What modules of the list import for themselves, such as asyncio, and a program may not by name."""

THREADS = ("_thread", "concurrent.futures", "concurrent.futures.thread", "queue", "threading")

IMPORTABLE = frozenset((
    *PRELOADED, *CODECS, *ASYNCIO, *THREADS, "__future__", "abc", "argparse", "array", "ast", "base64", "binascii",
    "builtins", "calendar", "cmath", "codecs", "collections.abc", "contextlib", "contextvars", "copyreg", "csv",
    "dataclasses", "datetime", "decimal", "difflib", "dis", "doctest", "enum", "fractions", "gc", "getpass", "graphlib",
    "hashlib", "hmac", "html", "importlib", "inspect", "io", "keyword", "linecache", "locale", "logging", "marshal",
    "numbers", "os", "os.path", "pathlib", "pickle", "platform", "pprint", "random", "reprlib", "resource", "sched",
    "secrets", "select", "shlex", "signal", "stat", "statistics", "struct", "symtable", "sys", "tempfile", "textwrap",
    "time", "timeit", "token", "tokenize", "traceback", "types", "unicodedata", "unittest", "urllib.parse", "uuid",
    "warnings", "weakref", "xml.etree.ElementTree", "zlib", "zoneinfo",
))  # fmt: skip

# What these load by themselves only when they are used, at which time a program can open no file.
_ALSO = {
    "collections": ("collections.abc",), "datetime": ("_strptime",), "decimal": ("numbers",),
    "traceback": ("linecache",), "time": ("_strptime",), "urllib": ("urllib.parse",), "xml": ("xml.etree.ElementTree",),
    "xml.etree": ("xml.etree.ElementTree",), "hashlib": ("_hashlib",), "str": ("stringprep",),
    "statistics": ("random",), "concurrent": THREADS, "concurrent.futures": THREADS, "zoneinfo": ("datetime",),
    "uuid": ("hashlib", "random"), "argparse": ("textwrap",), "urllib.parse": ("unicodedata",),
}  # fmt: skip

NUMPY = "numpy"
NUMPY_PARTS = ("char", "exceptions", "fft", "linalg", "ma", "polynomial", "random", "rec", "strings", "testing")
"""Loaded with it, since it loads them by itself when they are used."""

NUMPY_MEGABYTES = 128
"""Of address space that NumPy takes before a program has made an array; its programs have so much more."""

# Wherever such words stand, in a text as well: a module too many costs little, and one too few fails a right program.
_GAP = r"(?:[ \t\f]|\\\r?\n)"
_NAME = r"[A-Za-z_][\w.]*"
_ONE = rf"{_NAME}(?:{_GAP}+as{_GAP}+\w+)?"
_IMPORT = re.compile(
    rf"(?<![\w.])(?:from{_GAP}+({_NAME}){_GAP}+import\b|import{_GAP}+({_ONE}(?:{_GAP}*,{_GAP}*{_ONE})*))")
_BY_TEXT = re.compile(rf"(?:__import__|import_module)[ \t]*\(\s*[rRuU]?([\"'])({_NAME})\1")
_SEPARATOR = re.compile(rf"{_GAP}*,{_GAP}*")


def named_in(code: str) -> list[str]:
    """The modules that a program names and may import, and what they need, in a fixed order."""
    # A name of a character in a text has the compiler import this module.
    found = {"unicodedata"} if "\\N{" in code else set()
    for module in imported(code):
        if module in IMPORTABLE:
            found.add(module)
        if module.partition(".")[0] == NUMPY:
            found.add(NUMPY)
        found.update(_ALSO.get(module, ()))
    return sorted(found.difference(PRELOADED))


def imported(code: str) -> list[str]:
    """All that a program imports by name, whether it may or not; what a text in it says is among it."""
    found = []
    for module, listed in _IMPORT.findall(code):
        found += [module] if module else [one.split()[0].rstrip("\\") for one in _SEPARATOR.split(listed)]
    return found + [name for _, name in _BY_TEXT.findall(code)]


def importable(module: str) -> bool:
    """Whether programs and tests may import a module."""
    return module in IMPORTABLE or module.partition(".")[0] == NUMPY or module in _ALSO


def loadable(module: str) -> bool:
    """Whether a zygote may load a module of the standard library, whoever asks."""
    return module in IMPORTABLE or any(module in needed for needed in _ALSO.values())
