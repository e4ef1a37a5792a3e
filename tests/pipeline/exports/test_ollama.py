"""ollama's template writes what the model's own does."""

from collections.abc import Callable
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

from eval import chat_template
from pipeline.exports import ollama
from tests.pipeline.exports.spelling import spelling

TALK = [("system", "Be brief."), ("user", "2 + 2?"), ("assistant", "4"), ("user", "And {{ 3 }}?")]
CHATML = (
    "{% for message in messages %}{% if loop.first and message.role != 'system' %}"
    "<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHANNELS = (
    "{% for message in messages %}<|start|>{{ message.role }}"
    "{{ '<|channel|>final' if message.role == 'assistant' }}<|message|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)


FORGETFUL = CHATML.replace("{{ message.content }}", "{{ message.content.split('</think>')[-1].lstrip() }}")


def of(template: str | None) -> Any:
    return spelling(["<user>", "<assistant>", "<|im_start|>", "<|im_end|>"], chat_template=template)


@pytest.mark.parametrize("template", [chat_template.OWN_TEMPLATE, CHATML, CHANNELS])
def test_turns_are_written_as_by_the_template(template: str) -> None:
    tokenizer = of(template)
    turns = ollama.turns_of(tokenizer)
    assert turns
    for talk in (TALK, TALK[1:], TALK[:2], TALK[1:2]):
        conversation = [{"role": role, "content": content} for role, content in talk]
        assert turns.written(conversation) == chat_template.written(tokenizer, [conversation], {})[0]


def test_a_template_of_go() -> None:
    turns = ollama.turns_of(of(CHATML))
    assert turns
    assert turns.go() == (
        "<|im_start|>system\n{{ if not .System }}Be kind.{{ end }}{{ range .Messages }}"
        '{{ if eq .Role "system" }}{{ .Content }}'
        '{{ else if eq .Role "user" }}<|im_end|>\n<|im_start|>user\n{{ .Content }}'
        '{{ else if eq .Role "assistant" }}<|im_end|>\n<|im_start|>assistant\n{{ .Content }}{{ end }}{{ end }}'
        "<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("template", [
    None,
    "{% for message in messages %}{{ message.content | upper }}{% endfor %}",
    "{% for message in messages %}<{{ message.role }} {{ loop.index }}>{{ message.content }}{% endfor %}",
    "{{ raise_exception('no talk') }}",
])
def test_what_is_no_turns_is_left_to_a_person(tiny: Callable[..., Any], template: str | None) -> None:
    text, left = ollama.modelfile(tiny("qwen3"), of(template), "tiny.gguf")
    assert "TEMPLATE" not in text
    assert "write a TEMPLATE into the Modelfile" in left


@pytest.mark.parametrize(("template", "said"), [
    (FORGETFUL, "send them to ollama without it"), (CHATML, ""), (chat_template.OWN_TEMPLATE, ""),
])
def test_thinking_that_the_template_leaves_out_of_earlier_answers_is_told(
    tiny: Callable[..., Any], template: str, said: str
) -> None:
    text, left = ollama.modelfile(tiny("qwen3"), of(template), "tiny.gguf")
    assert "TEMPLATE" in text
    assert said in left
    assert bool(said) == bool(left)


@pytest.mark.parametrize(("template", "begins"), [
    (chat_template.OWN_TEMPLATE, 'TEMPLATE """{{ range .Messages }}'),
    ("{% for message in messages %}<bos><{{ message.role }}>{{ message.content }}{% endfor %}"
     "{% if add_generation_prompt %}<assistant>{% endif %}", "PARAMETER repeat_penalty 1.0"),
])
def test_bos_is_not_written_where_the_tokenizer_adds_it(
    tiny: Callable[..., Any], template: str, begins: str
) -> None:
    tokenizer = of(template)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", tokenizer.bos_token_id)]
    )
    text, left = ollama.modelfile(tiny("qwen3"), tokenizer, "tiny.gguf")
    assert text.splitlines()[1].startswith(begins)
    assert bool(left) == ("TEMPLATE" not in text)


def test_how_the_model_draws_and_ends(tiny: Callable[..., Any]) -> None:
    model = tiny("qwen3")
    model.generation_config.update(temperature=0.6, top_p=0.95, eos_token_id=[3, 4])
    text, left = ollama.modelfile(model, of(chat_template.OWN_TEMPLATE), "tiny.gguf")
    assert left == ""
    assert text.splitlines() == [
        "FROM ./tiny.gguf",
        'TEMPLATE """<bos>{{ range .Messages }}{{ if eq .Role "user" }}<user>{{ .Content }}'
        '{{ else if eq .Role "assistant" }}<assistant>{{ .Content }}<eos>{{ end }}{{ end }}<assistant>"""',
        "PARAMETER temperature 0.6", "PARAMETER top_p 0.95", "PARAMETER repeat_penalty 1.0", "PARAMETER num_ctx 64",
        'PARAMETER stop "<eos>"',
        'PARAMETER stop "<user>"',
    ]
    model.generation_config.update(min_p=0.05, repetition_penalty=1.05)
    text, _ = ollama.modelfile(model, of(chat_template.OWN_TEMPLATE), "tiny.gguf")
    assert {"PARAMETER min_p 0.05", "PARAMETER repeat_penalty 1.05"} <= set(text.splitlines())
