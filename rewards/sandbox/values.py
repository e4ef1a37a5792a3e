"""Values as JSON text and back: plain types only, on both sides of the wire.

None, bool, str and integers of 64 bits are themselves; everything else is a list with a tag: ["float", "0x1.8p+1"],
["tuple", 1, 2], ["dict", ["key", 1]]. ["object", 3] stands for a value that is not plain and stays where it is (an
instance of a class of the program) and ["instances", ..] for what instances.py writes, where the side that reads allows
it; so is ["type", "int"], a class of the plain types. NumPy's numbers are their plain ones. Its arrays are lists, and
between two processes with `keep` and `known` they are ["array", "<f8", [2, 1], 0.5, 1.5]: type, shape and what they
hold.
"""

import json
import re
import sys
from collections.abc import Callable
from typing import Any

_quoted = json.encoder.encode_basestring_ascii

TYPES = {kind.__name__: kind for kind in (int, float, str, bool, complex, bytes, list, tuple, dict, set, frozenset)}
_COLLECTIONS: dict[str, Callable[[list[object]], object]] = {
    "list": list, "tuple": tuple, "set": set, "frozenset": frozenset,
}

_KIND = re.compile(r"[<>|=]?[?biufcSUO]\d{0,3}")

DEEPEST = 60
"""Levels of nesting; deeper values are refused, as are values that hold themselves."""

Keep = Callable[[object], str]
"""The text for a value that is not plain."""

Known = Callable[[str, list[Any]], object]
"""What such a text stands for, by its tag and what follows that."""


def encoded(value: object, keep: Keep | None = None, depth: int = 0) -> str:
    """JSON text of a plain value. Subclasses become the plain type that they extend.

    A value that is not plain goes to `keep`, which gives the text that stands for it; without `keep` it is a TypeError.
    Raises ValueError where it is nested too deeply. Written out by hand: in a fresh child json.dumps costs more than
    the program.
    """
    scalar = _encoded_scalar(value)
    if scalar is not None:
        return scalar
    if depth > DEEPEST:
        raise ValueError("the value is nested too deeply")
    if isinstance(value, dict):
        items = [f",[{encoded(k, keep, depth + 1)},{encoded(v, keep, depth + 1)}]" for k, v in dict.items(value)]
        return f'["dict"{"".join(items)}]'
    for plain in (list, tuple, set, frozenset):
        if isinstance(value, plain):
            # Through the plain type's own iterator: a subclass could say otherwise.
            parts = ["," + encoded(item, keep, depth + 1) for item in plain.__iter__(value)]  # type: ignore[arg-type]
            return f'["{plain.__name__}"{"".join(parts)}]'
    written = _encoded_of_numpy(value, keep, depth)
    if written is not None:
        return written
    if keep is None:
        raise TypeError(f"a value of type {type(value).__name__} is not plain data")
    name = next((name for name, kind in TYPES.items() if value is kind), None)
    return keep(value) if name is None else f'["type","{name}"]'


def _encoded_of_numpy(value: object, keep: Keep | None, depth: int) -> str | None:
    """JSON text of a number or an array of NumPy; None where the value is none or NumPy is not loaded."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if isinstance(value, numpy.generic):
        plain = float(value) if isinstance(value, numpy.longdouble) else value.item()
        return encoded(plain, keep, depth + 1)
    if not isinstance(value, numpy.ndarray):
        return None
    if keep is None:
        return encoded(value.tolist(), keep, depth + 1)
    items = [f",{encoded(item, keep, depth + 1)}" for item in value.ravel().tolist()]
    return f'["array",{_quoted(value.dtype.str)},{json.dumps(value.shape)}{"".join(items)}]'


def _encoded_scalar(value: object) -> str | None:
    """JSON text of a value that holds no others; None for what may."""
    # Before the integers, of which bool is a subclass.
    if value is None or value is True or value is False:
        return "null" if value is None else "true" if value else "false"
    if isinstance(value, int):
        number = int(value)
        # Larger ones in hexadecimal: Python refuses to write or read many decimal digits, since that takes long.
        return int.__repr__(number) if -(1 << 63) <= number < 1 << 63 else f'["int","{number:x}"]'
    if isinstance(value, str):
        return _quoted(str.__str__(value))
    # Hexadecimal says a float exactly, and NaN and infinity, which JSON lacks.
    if isinstance(value, float):
        return f'["float","{float.hex(value)}"]'
    if isinstance(value, complex):
        value = ("complex", float.hex(value.real), float.hex(value.imag))
    elif isinstance(value, (bytes, bytearray)):
        value = ("bytes", bytes(value).hex())
    else:
        return None
    return f"[{','.join(map(_quoted, value))}]"


def decoded(value: object, known: Known | None = None, most_keys: int | None = None) -> object:
    """The plain value that parsed JSON stands for; `known` gives those that are not plain.

    With `most_keys` a larger dict or set is a ValueError: building one of keys that were chosen to collide takes time
    that grows with the square of their number. Raises ValueError, TypeError, LookupError or OverflowError on anything
    that `encoded` does not write.
    """
    if not isinstance(value, list):
        if isinstance(value, dict | float):
            raise ValueError("not an encoded value")
        return value
    tag, *rest = value
    # Before anything is built of them.
    if most_keys is not None and tag in ("dict", "set", "frozenset") and len(rest) > most_keys:
        raise ValueError("more keys than there may be")
    match tag:
        case "int" | "float" | "complex" | "bytes":
            return _decoded_scalar(tag, rest)
        case "dict":
            return {_hashable(decoded(k, known, most_keys)): decoded(v, known, most_keys) for k, v in rest}
        case "list" | "tuple" | "set" | "frozenset":
            return _COLLECTIONS[tag]([decoded(v, known, most_keys) for v in rest])
        case "object" | "instances" | "type" if known is not None:
            return known(tag, rest)
        case "array" if known is not None:
            kind, shape, *items = rest
            if not _KIND.fullmatch(kind):
                raise ValueError("no type of numbers or text")
            numpy = sys.modules["numpy"]
            array = numpy.empty(len(items), dtype=kind)
            array[:] = [decoded(item, known, most_keys) for item in items]
            return array.reshape(shape)
    raise ValueError("an unknown tag")


def _decoded_scalar(tag: str, written: list[str]) -> object:
    match tag:
        case "int":
            return int(written[0], 16)
        case "float":
            return float.fromhex(written[0])
        case "complex":
            return complex(float.fromhex(written[0]), float.fromhex(written[1]))
    return bytes.fromhex(written[0])


def _hashable(value: object) -> object:
    """The value, as a key of a dict. Raises TypeError where it cannot be one."""
    hash(value)
    return value
