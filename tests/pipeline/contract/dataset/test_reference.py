import pytest

from pipeline.contract.dataset import DataReference, Selection, parse
from pipeline.contract.errors import StageError


@pytest.mark.parametrize(("reference", "meant"), [
    ("traces", DataReference("traces")),
    ("why?.jsonl", DataReference("why?.jsonl")),
    ("a/b.csv?prompt=question&completion=final answer",
     DataReference("a/b.csv", Selection({"prompt": "question", "completion": "final answer"}))),
    ("org/name@v2?config=main&split=train", DataReference("org/name@v2", Selection(config="main", split="train"))),
    ("org/name?revision=v2&text=body", DataReference("org/name@v2", Selection({"text": "body"}))),
    ("x.json?messages=conversations&role=from&content=value",
     DataReference("x.json", Selection({"messages": "conversations", "role": "from", "content": "value"}))),
])
def test_a_place_and_what_is_meant_of_it(reference: str, meant: DataReference) -> None:
    assert parse(reference) == meant


@pytest.mark.parametrize("reference", [
    "x.jsonl?question=prompt", "x.jsonl?prompt=a&prompt=b", "x.jsonl?prompt=", "x.jsonl?prompt=a&completion",
    "org/name@a?revision=b",
])
def test_what_is_no_map_is_one_line(reference: str) -> None:
    with pytest.raises(StageError) as caught:
        parse(reference)
    assert repr(reference) in str(caught.value)
    assert "\n" not in str(caught.value)
