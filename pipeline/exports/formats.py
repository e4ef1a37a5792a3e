"""The formats that a model is exported in, and the folder that one makes of it."""

import importlib.util
import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.language_model import LanguageModel, Tokenizer
from pipeline.contract.errors import CommandError, StageError
from pipeline.contract.numbers import Dtype
from pipeline.disk import durable
from pipeline.exports import compressed, gguf_file, mxfp4, ollama, saved
from pipeline.exports.card import Card
from pipeline.exports.origins import origins_of
from pipeline.models import pretrained
from pipeline.models.mtp import module
from pipeline.models.mtp.saved import FILE


@dataclass(frozen=True)
class Model:
    """What is exported, and under which name; `kind` is what weights are stored in, where the format leaves a choice
    and one was made."""

    model: LanguageModel
    tokenizer: Tokenizer
    name: str
    kind: str | None


@dataclass(frozen=True)
class Format:
    """`write` fills a folder and returns what a person should know of it. `kinds` are what weights can be stored in,
    `dtype` is what the model is loaded in before, where not as it was saved, `needs` a package and the extra of ours
    that brings it. `loading` says how the folder is used, with {name} in place of the model's."""

    title: str
    write: Callable[[Model, Path], Sequence[str]]
    loading: str
    kinds: Sequence[str] = ()
    dtype: Dtype | None = None
    needs: tuple[str, str] | None = None


def _gguf(what: Model, folder: Path) -> Sequence[str]:
    gguf_file.write(what.model, what.tokenizer, folder / f"{what.name}.gguf", what.kind, what.name)
    return ()


def _ollama(what: Model, folder: Path) -> Sequence[str]:
    _gguf(what, folder)
    left = ollama.write(what.model, what.tokenizer, folder, f"{what.name}.gguf")
    return [left] if left else []


def _vllm(what: Model, folder: Path) -> Sequence[str]:
    saved.write(what.model, what.tokenizer, folder)
    return ()


def _fp8(what: Model, folder: Path) -> Sequence[str]:
    return [f"{compressed.write(what.model, what.tokenizer, folder, compressed.FP8)}."]


def _mxfp4(what: Model, folder: Path) -> Sequence[str]:
    return [f"{mxfp4.write(what.model, what.tokenizer, folder)}."]


_SERVE = "```\nvllm serve FOLDER\n```\n\nA server for `retort eval NAME --server http://localhost:8000/v1`, too."
_RUN = "```\nllama-cli -m {name}.gguf\n```"

FORMATS: Mapping[str, Format] = {
    "gguf": Format("a GGUF file", _gguf, _RUN, tuple(gguf_file.TYPES), needs=("gguf", "gguf")),
    "ollama": Format("a model for ollama", _ollama, "```\nollama create {name} -f Modelfile\nollama run {name}\n```",
                     tuple(gguf_file.TYPES), needs=("gguf", "gguf")),
    "vllm": Format("a folder for vLLM", _vllm, _SERVE, ("bfloat16", "float16", "float32"), "bfloat16"),
    "fp8": Format("FP8 weights", _fp8, _SERVE, dtype="bfloat16", needs=("compressed_tensors", "compressed")),
    "mxfp4": Format("MXFP4 weights", _mxfp4, _SERVE, dtype="bfloat16", needs=("compressed_tensors", "compressed")),
}


def export(place: Path | str, name: str, to: str, kind: str | None, out: Path) -> Sequence[str]:
    """Make `out`, a folder that another program loads; returns what a person should know of it. Raises CommandError
    for what the format has no words for, before anything is written under that name."""
    form = FORMATS[to]
    if kind is not None and kind not in form.kinds:
        choice = f"give one of {', '.join(form.kinds)}" if form.kinds else "it has one type alone; leave --type out"
        raise CommandError(f"--type: {to} stores no weights in {kind}; {choice}")
    if form.needs and importlib.util.find_spec(form.needs[0]) is None:
        raise CommandError(f"--to {to} needs the package {form.needs[0]}: pip install 'retort[{form.needs[1]}]'")
    if out.exists():
        raise CommandError(f"{out} is there already; give another --out, or remove it")
    try:
        model, tokenizer = pretrained.load(place, _dtype(form, kind))
    except StageError as error:
        raise CommandError(str(error)) from error
    making = out.with_name(f".{out.name}.{os.getpid()}")
    making.mkdir(parents=True)
    try:
        notes = [*form.write(Model(model, tokenizer, name, kind), making), *_left_out(model)]
        loading = form.loading.format(name=shlex.quote(name))
        Card(name, form.title, _facts(model, making), loading, origins_of(place), notes).write(making)
        durable.sync_files(making)
        making.rename(out)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    durable.sync_folder(out.parent)
    return notes


def _dtype(form: Format, kind: str | None) -> Dtype | None:
    return kind if form.dtype and kind else form.dtype  # type: ignore[return-value]  # those of `kinds` are some


def _left_out(model: LanguageModel) -> Sequence[str]:
    if module.of(model) is None:
        return ()
    return [f"The module for multi-token prediction that lies beside the model ({FILE}) is left out: with it "
            "tokens are drafted by Retort alone."]


def _facts(model: LanguageModel, folder: Path) -> dict[str, str]:
    context = pretrained.trained_context(model)
    size = sum(file.stat().st_size for file in folder.iterdir())
    return {
        "family": model.config.model_type, "parameters": f"{pretrained.parameters(model):,}",
        "context": f"{context:,} tokens" if context else "no limit said",
        "read in": str(model.dtype).removeprefix("torch."), "size": f"{size:,} bytes",
    }
