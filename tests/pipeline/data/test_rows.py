"""Rows, batches and dataset files."""

import copy
import json
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from eval.assistant_turns import encode_completion
from eval.prompts import encode_prompt
from eval.protocol import Prompting
from pipeline.contract.errors import StageError
from pipeline.data.rows import Collator, Document, Stream, read_rows, rows
from pipeline.models.tokenizer import train_tokenizer

TEXTS = [Document("Tom", "3"), Document("Tom has 3 apples.", "<think>So 3.</think><answer>3</answer>")]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(["Tom has 3 apples. <think>So 3.</think><answer>3</answer>"], 64)


def test_prompts_weigh_less_and_the_end_is_learned(tokenizer: Any) -> None:
    (made,) = rows(tokenizer, [Document("Tom has 3 apples.", "<answer>3</answer>")], prompt_weight=0.25)
    head, tail = encode_prompt(tokenizer, "Tom has 3 apples."), encode_completion(tokenizer, "<answer>3</answer>")
    assert made["input_ids"] == head + tail
    assert made["weights"] == [0.25] * len(head) + [1.0] * len(tail)
    assert made["input_ids"][-1] == tokenizer.eos_token_id


def test_a_text_begins_with_what_the_tokenizer_itself_puts_in_front(tokenizer: Any) -> None:
    def begun(tokenizer: Any) -> str:
        (made,) = rows(tokenizer, [Document(None, "Tom")])
        return tokenizer.decode(made["input_ids"])

    assert begun(tokenizer) == "<bos>Tom<eos>"  # its own template begins so, and asks for no token of the tokenizer's
    other = copy.deepcopy(tokenizer)
    other.chat_template = None
    assert begun(other) == "Tom<eos>"
    ids = [(token, other.convert_tokens_to_ids(token)) for token in ("<bos>", "<eos>", "<user>")]
    for single, expected in (("<bos> $A", "<bos>Tom<eos>"), ("$A <eos>", "Tom<eos>"), ("<eos> $A", "<eos>Tom<eos>"),
                             ("<bos> <user> $A <eos>", "<bos><user>Tom<eos>")):
        other.backend_tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=ids)
        assert begun(other) == expected


@pytest.mark.parametrize("opened", [False, True])
def test_what_is_not_to_be_learned_of_a_completion_weighs_nothing(tokenizer: Any, opened: bool) -> None:
    text = "<think>So 3.</think><answer>3</answer>"
    how = Prompting(open_thinking=opened)
    (made,) = rows(tokenizer, [Document("Tom", text, [(7, 12), (28, 29)])], 0.25, how)
    learned = [one for one, weight in zip(made["input_ids"], made["weights"], strict=True) if weight == 1.0]
    silent = [one for one, weight in zip(made["input_ids"], made["weights"], strict=True) if not weight]
    assert tokenizer.decode(silent) == "So 3.3"
    expected = "</think><answer></answer><eos>"
    assert tokenizer.decode(learned) == (expected if opened else f"<think>{expected}")


def test_a_token_does_not_straddle_a_call_and_what_the_tool_said() -> None:
    text = "<call>3</call><result>3</result>3"
    tokenizer = of_characters("><")
    assert "><" in tokenizer.tokenize(text)
    (made,) = rows(tokenizer, [Document(None, text, [(14, 32)])], 0.25)
    parts = {weight: [one for one, own in zip(made["input_ids"], made["weights"], strict=True) if own == weight]
             for weight in (0.0, 1.0)}
    assert tokenizer.decode(parts[1.0][:-1]) == "<call>3</call>3"
    assert tokenizer.decode(parts[0.0]) == "<result>3</result>"


def of_characters(merged: str) -> Any:
    """Of single characters and one token of two."""
    vocabulary = ["<|end|>", *sorted(pre_tokenizers.ByteLevel.alphabet()), merged]
    model = models.BPE({token: place for place, token in enumerate(vocabulary)}, [(merged[0], merged[1])])
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")


def test_a_text_without_a_prompt_is_learned_whole(tokenizer: Any) -> None:
    asked, bare, other = rows(tokenizer, [TEXTS[0], Document(None, "Tom has 3 apples."), TEXTS[1]])
    assert bare["input_ids"] == [tokenizer.bos_token_id, *encode_completion(tokenizer, "Tom has 3 apples.")]
    assert bare["weights"] == [0.0] + [1.0] * (len(bare["input_ids"]) - 1)
    assert [asked, other] == rows(tokenizer, TEXTS)


def test_a_stream_holds_the_first_rows_that_fit(tokenizer: Any) -> None:
    short, long = TEXTS
    every = rows(tokenizer, TEXTS)
    length = len(every[0]["input_ids"])
    assert length < len(every[1]["input_ids"])
    stream = Stream(tokenizer, cycle([long, short]), count=700, length=length)
    assert len(stream) == 700
    assert list(stream) == [every[0]] * 700


@pytest.mark.parametrize("documents", [cycle([Document(None, "Tom has 3 apples.")]), iter([])])
def test_a_stream_of_nothing_that_fits_is_no_endless_search(tokenizer: Any, documents: Any) -> None:
    with pytest.raises(StageError, match=r"none of \d+ texts is at most 3 tokens long"):
        Stream(tokenizer, documents, count=4, length=3)[0]


def test_batches_are_padded_on_the_right() -> None:
    made = [{"input_ids": [5, 6, 7], "weights": [0.0, 0.5, 1.0]}, {"input_ids": [8], "weights": [1.0]}]
    batch = Collator(pad=0)(made)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[-100, 6, 7], [8, -100, -100]]
    assert torch.equal(batch["weights"], torch.tensor([[0.0, 0.5, 1.0], [1.0, 0.0, 0.0]]))


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_rows_are_read_from_files_and_artifacts(tmp_path: Path) -> None:
    odd = json.dumps({"prompt": "a\u2028b\u0085c", "completion": "é"}, ensure_ascii=False)
    file = write(tmp_path / "data.jsonl", odd, '{"text": "whole"}')
    expected = [
        {"prompt": "a\u2028b\u0085c", "completion": "é"}, {"prompt": None, "completion": "whole", "text": "whole"}
    ]
    assert read_rows(file) == read_rows(tmp_path) == expected
