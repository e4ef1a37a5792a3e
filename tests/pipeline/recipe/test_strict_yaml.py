import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.recipe import strict_yaml
from pipeline.recipe.strict_yaml import YamlError


@pytest.mark.parametrize(("text", "value"), [
    ("1e-3", 1e-3), ("1E5", 1e5), (".5", 0.5), ("1.", 1.0), ("-0.25", -0.25), ("+3", 3), ("010", 10), ("0o10", 8),
    ("0xFF", 255), ("no", "no"), ("on", "on"), ("yes", "yes"), ("off", "off"), ("y", "y"), ("true", True),
    ("False", False), ("null", None), ("~", None), ("12:30:45", "12:30:45"), ("2025-01-31", "2025-01-31"),
    ("1_000", "1_000"), ("'1'", "1"), ('"true"', "true"), (".inf", math.inf), ("-.inf", -math.inf), (".", "."),
    ("e3", "e3"), ("org/name", "org/name"), ("[a, 1]", ["a", 1]), ("{correct: 1.0}", {"correct": 1.0}),
    ("9" * 5000, "9" * 5000),
])
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    found = strict_yaml.value(text)
    assert found == value
    assert type(found) is type(value)


def _grown(deep: int) -> str:
    """Lists of nine aliases of the list above, so many deep: nine to that power of ones."""
    lists = [f"k{i}: &k{i} [{', '.join([f'*k{i - 1}' if i else '1'] * 9)}]\n" for i in range(deep)]
    return "a: 1\n" + "".join(lists)


@pytest.mark.parametrize(("text", "line", "part"), [
    ("a: 1\nb: 2\na: 3\n", 3, "written twice in one block, first on line 1"),
    ("a: 1\nb:\n\tc: 2\n", 3, "tab"),
    ("x: &x {a: 1}\ny:\n  <<: *x\n", 3, "merge"),
    ("a: !!python/object:os.system 1\n", 1, "tags"),
    ("a: !mine 1\n", 1, "tags"),
    ("a: 1\n---\nb: 2\n", 2, "second document"),
    ("a: [1, 2\nb: 3\n", 2, "not YAML"),
    ("a: b: c\n", 1, "not YAML"),
    ("? [a, b]\n: 1\n", 1, "plain word"),
    ("'': 1\n", 1, "empty"),
    ("a: *b\n", 1, "no anchor"),
    ("a: &x [*x]\n", 1, "alias refers to the block"),
    ("a: &x 1\nb: &x 2\n", 2, "defined twice"),
    ("a: \x07\n", 1, "not YAML"),
    ('a:\n  - "\\e[2J"\n', 2, r"control character '\\x1b'"),
    ('"a\\0b": 1\n', 1, r"control character '\\x00'"),
    ('a: "\\ud800"\n', 1, r"control character '\\ud800'"),
    ("a: 1\nb: " + "[" * 3000 + "]" * 3000, 2, "more than 40 deep"),
    ("- " * 3000 + "1", 1, "more than 40 deep"),
    ("".join(f"{{k{i}: " for i in range(3000)), 1, "more than 40 deep"),
    ("".join(" " * i + "k:\n" for i in range(60)), 41, "more than 40 deep"),
    (_grown(9), 2, "more than 20,000 values"),
    ("k0: &k0 [1]\n" + "".join(f"k{i}: &k{i} [*k{i - 1}]\n" for i in range(1, 60)), 1, "more than 40 deep"),
    ("#" * 100_001, 1, "at most 100,000"),
])
def test_what_could_be_misread_is_refused(text: str, line: int, part: str) -> None:
    with pytest.raises(YamlError, match=part) as caught:
        strict_yaml.read(text, "r.yaml")
    assert caught.value.line == line
    assert "\n" not in str(caught.value)


def test_keys_are_the_text_that_was_written() -> None:
    assert strict_yaml.value("{no: 1, 10: 2, 'a b': 3}") == {"no": 1, "10": 2, "a b": 3}


def test_every_node_knows_its_place() -> None:
    document = strict_yaml.read("a:\n  - x\n  - y: 1\nb: {c: 2,\n    d: 3}\n", "r.yaml")
    assert document.place(("a",)) == "r.yaml:1"
    assert document.place(("a", 1, "y")) == "r.yaml:3"
    assert document.place(("b", "d")) == "r.yaml:5"
    assert document.place(("a", 1, "missing", "deeper")) == "r.yaml:3"


def test_aliases_without_merging_are_plain_reuse() -> None:
    assert strict_yaml.value("{a: &x [1, 2], b: *x}") == {"a": [1, 2], "b": [1, 2]}


# JSON writes characters beyond 0xFFFF as two escapes; control characters are refused.
_TEXT = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs", "Cc"]))
_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-10**9, 10**9) | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT.filter(bool), inner, max_size=4), max_leaves=12,
)


@given(_PLAIN)
def test_json_reads_as_itself(data: object) -> None:
    # Escaped JSON is YAML, but for the keys, which are always text here.
    assert strict_yaml.value(json.dumps(data, ensure_ascii=True)) == data


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    complaint = None
    try:
        strict_yaml.read(text, "r.yaml")
    except YamlError as error:
        complaint = error
    assert complaint is None or ("\n" not in str(complaint) and complaint.line >= 1)


@pytest.mark.parametrize("written", [b"name: caf\xe9\n", b"\x1f\x8b\x08\x00"])
def test_a_file_that_is_no_utf8_says_what_to_do(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "recipe.yaml").write_bytes(written)
    with pytest.raises(YamlError, match="is not UTF-8 text; save it as UTF-8"):
        strict_yaml.read_file(tmp_path / "recipe.yaml")


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "recipe.yaml").open("wb") as sparse:
        sparse.truncate(2**33)
    with pytest.raises(YamlError, match="has 8,589,934,592 bytes"):
        strict_yaml.read_file(tmp_path / "recipe.yaml")
