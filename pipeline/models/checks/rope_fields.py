"""What `rope_parameters` and `scaling` may say of rotary positions. transformers warns of most mistakes here and goes
on, so that a model is trained for hours with other positions than were asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.models.checks import config_source
from pipeline.models.checks.faults import Fault, raise_faults
from rewards.registry import did_you_mean


@dataclass(frozen=True)
class _Range:
    """Numbers above `least` (or equal to it, where `closed`) up to `most`."""

    least: float
    most: float
    closed: bool = True
    whole: bool = False

    def fault(self, value: object) -> str | None:
        kind = int if self.whole else int | float
        if isinstance(value, bool) or not isinstance(value, kind):
            return f"should be a {'whole ' if self.whole else ''}number, not {value!r}"
        if value > self.most or value < self.least or (value == self.least and not self.closed):
            bound = "at least" if self.closed else "above"
            return f"should be {bound} {self.least:g} and at most {self.most:g}, not {value!r}"
        return None


_POSITIVE = _Range(0, 1e6, closed=False)
_RANGES = {
    "rope_theta": _Range(1, 1e12, closed=False),
    "factor": _Range(1, 1e6),
    "original_max_position_embeddings": _Range(1, 2**30, whole=True),
    "attention_factor": _POSITIVE,
    "beta_fast": _POSITIVE,
    "beta_slow": _POSITIVE,
    "mscale": _Range(0, 1000),
    "mscale_all_dim": _Range(0, 1000),
    "low_freq_factor": _POSITIVE,
    "high_freq_factor": _POSITIVE,
    "partial_rotary_factor": _Range(0, 1, closed=False),
}
_ANYWHERE = frozenset({"rope_type", "rope_theta", "partial_rotary_factor"})
_SCALED = _ANYWHERE | {"factor", "original_max_position_embeddings"}
_KEYS = {
    "default": _ANYWHERE,
    "linear": _SCALED,
    "dynamic": _SCALED,
    "yarn": _SCALED | {"attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"},
    "longrope": _SCALED | {"attention_factor", "short_factor", "long_factor"},
    "llama3": _SCALED | {"low_freq_factor", "high_freq_factor"},
    "proportional": _SCALED,
}
_NEEDED = {
    "linear": ("factor",), "dynamic": ("factor",), "yarn": ("factor",), "longrope": ("short_factor", "long_factor"),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
}


def rope_faults(parameters: JsonMapping) -> Iterator[Fault]:
    """What is wrong with one block of parameters. Without a `rope_type` it is of the default type."""
    known = config_source.rope_types() or frozenset(_KEYS)
    kind = parameters.get("rope_type", "default")
    if not isinstance(kind, str) or kind not in known:
        yield ("rope_type",), f"there is no rope_type {kind!r}{did_you_mean(str(kind), sorted(known))}"
        return
    allowed = _KEYS.get(kind)
    if allowed is None:  # a type that a later transformers has; its fields are not known here
        return
    for key, value in parameters.items():
        if key not in allowed:
            place = next((f"; it belongs to rope_type {one}" for one, keys in _KEYS.items() if key in keys), None)
            yield (key,), f"rope_type {kind} has no such field{place or did_you_mean(str(key), sorted(allowed))}"
        elif said := _fault_of_value(key, value):
            yield (key,), said
    for key in _NEEDED.get(kind, ()):
        if key not in parameters:
            yield (), f"rope_type {kind} needs {key}"
    yield from _fault_of_pairs(parameters)


def _fault_of_value(key: str, value: object) -> str | None:
    if key in _RANGES:
        return _RANGES[key].fault(value)
    if key == "truncate" and not isinstance(value, bool):
        return f"should be true or false, not {value!r}"
    if key in ("short_factor", "long_factor"):
        numbers = value if isinstance(value, list) else []
        if not numbers or any(_POSITIVE.fault(number) for number in numbers):
            return "should be a list of numbers above 0, one for each pair of a head's rotary dimensions"
    return None


def _fault_of_pairs(parameters: JsonMapping) -> Iterator[Fault]:
    """The lower of two bounds has to be below the upper one; transformers has defaults for YaRN's."""
    for low, high, usual in (("beta_slow", "beta_fast", (1.0, 32.0)), ("low_freq_factor", "high_freq_factor", None)):
        written = [key for key in (low, high) if key in parameters]
        if not written or (len(written) < 2 and usual is None):
            continue
        lower, upper = parameters.get(low, (usual or (0.0, 0.0))[0]), parameters.get(high, (usual or (0.0, 0.0))[1])
        numbers = all(isinstance(value, int | float) for value in (lower, upper))
        if numbers and not lower < upper:
            yield (written[0],), f"{low} ({lower:g}) should be below {high} ({upper:g})"


def all_rope_faults(parameters: JsonMapping) -> Iterator[Fault]:
    """Like `rope_faults`, also where parameters are given for each type of layer: {full_attention: {..}, ..}."""
    nested = {key: value for key, value in parameters.items() if isinstance(value, Mapping)}
    if not nested:
        yield from rope_faults(parameters)
    for key, value in nested.items():
        yield from (((key, *where), said) for where, said in rope_faults(value))


def _faults_of_scaling(scaling: JsonObject) -> Iterator[Fault]:
    if "rope_type" not in scaling:
        # In a config the default type goes without saying; here something is to be scaled.
        yield (), "needs a rope_type, such as yarn"
        return
    if scaling["rope_type"] == "dynamic":
        # transformers counts from the model's longest position, which is the new one once it is extended.
        yield ("rope_type",), ("dynamic scales positions beyond a model's own, and all are its own once it is "
                               "extended; take yarn or linear")
    yield from rope_faults(scaling)


def _checked(scaling: JsonObject) -> JsonObject:
    raise_faults("scaling", _faults_of_scaling(scaling))
    return scaling


Scaling = Annotated[JsonObject, AfterValidator(_checked)]
"""A field with what transformers' `rope_parameters` take; what is wrong with it is told when the recipe is read."""
