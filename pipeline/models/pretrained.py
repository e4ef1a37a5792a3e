"""Loading and saving models as transformers knows them."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from eval.language_model import LanguageModel, Tokenizer
from pipeline.contract import processes
from pipeline.contract.errors import StageError
from pipeline.contract.numbers import Dtype
from pipeline.contract.room import limit_of
from pipeline.contract.stage import Context
from pipeline.disk.durable import JsonObject
from pipeline.models import audit, lora, origin, special_tokens
from pipeline.models.build import prepare
from pipeline.models.mtp import saved as mtp
from pipeline.models.shards import built_whole, class_of, numbers, sharded, whole_state
from pipeline.models.sources import Weights, model_folder, weights_of
from pipeline.recipe import inputs

_WRAPPERS = {"_orig_mod.": "torch.compile", "module.": "DistributedDataParallel"}
"""What stands in the names of weights that were saved from around a model, and what puts it there."""


def load(path: Path | str, dtype: Dtype | None = None) -> tuple[LanguageModel, Tokenizer]:
    """(model, tokenizer) of a model artifact, a local folder, a GGUF file, an adapter with its base, or a hub id; in
    `dtype`, or in the precision that it was saved in. Raises StageError."""
    return _read(path, dtype)[:2]


def load_tokenizer(path: Path | str) -> Tokenizer:
    """The tokenizer alone of what `load` loads, with a padding token. Raises StageError."""
    weights = weights_of(path)
    try:
        tokenizer = _tokenizer(weights)
    except Exception as error:  # as in `_read`
        raise StageError(f"{path} does not load as a tokenizer: {_first_line(error)}") from error
    special_tokens.settle(tokenizer, str(path))
    return tokenizer


def _tokenizer(weights: Weights) -> Tokenizer:
    # Code that a model's folder brings along is never run; unless told so, transformers asks on the terminal.
    tokenizer: Tokenizer
    if weights.tokenizer_of_adapter:
        # The family, which is not said there, decides what class transformers reads a tokenizer by.
        config = AutoConfig.from_pretrained(weights.folder, trust_remote_code=False, **weights.config_options)
        tokenizer = AutoTokenizer.from_pretrained(weights.tokenizer_of_adapter, config=config, trust_remote_code=False)
    else:
        tokenizer = AutoTokenizer.from_pretrained(weights.folder, trust_remote_code=False, **weights.tokenizer_options)
    return tokenizer


def _embeddings(weights: Weights, tokenizer: Tokenizer, of_base: int) -> int:
    """How many embeddings the model has whose base has `of_base`: where the tokenizer of an adapter has more tokens,
    one for each of them, as peft's AutoPeftModel loads it. Tokens for which the base, too, has none (a picture, in
    Gemma 3's text models) are no reason."""
    if weights.tokenizer_of_adapter is None or len(tokenizer) <= of_base:
        return of_base
    return len(tokenizer) if len(tokenizer) > len(_tokenizer(weights.base)) else of_base


def take(ctx: Context, reference: str, dtype: Dtype | None = None) -> tuple[LanguageModel, Tokenizer]:
    """`load` of a stage's input; of a model that was not made here a note says what was taken."""
    model, tokenizer, said = _read(ctx.path(reference), dtype)
    if not origin.from_scratch(model):
        ctx.note(f"takes {ctx.label(reference)}: {said}")
    return model, tokenizer


def _read(path: Path | str, dtype: Dtype | None) -> tuple[LanguageModel, Tokenizer, str]:
    weights = weights_of(_fetched(path))
    settled: list[str] = []
    try:
        tokenizer, options = _tokenizer(weights), weights.options
        model, found = AutoModelForCausalLM.from_pretrained(
            weights.folder, dtype=dtype or "auto", trust_remote_code=False, output_loading_info=True, **options
        )
        _require_whole(model, found)
        settled += [*_outputs_settled(model), *_drawing_settled(model)]
        if "quantization_config" in options:
            # transformers would save what it has widened as it was read: of MXFP4 and of experts in FP8 what nothing
            # reads again. Without a way that it was read in, a model is saved as one that was made here.
            model._weight_conversions = None
        if weights.adapter:
            wanted = _embeddings(weights, tokenizer, special_tokens.embeddings(model))
            with special_tokens.grown(model, wanted, tokenizer, settled):
                model = lora.with_adapter(model, weights.adapter)
            model.requires_grad_(True)  # peft has frozen what it was put on
    except Exception as error:  # files from outside, and libraries that raise whatever their bytes lead to
        raise StageError(f"{path} does not load as a model: {_first_line(error)}") from error
    mtp.load(model, path)
    settled += [*special_tokens.settle(tokenizer, str(path)), *special_tokens.held(tokenizer, model, str(path))]
    return prepare(model), tokenizer, _told(model, tokenizer, weights, settled)


def _fetched(path: Path | str) -> Path | str:
    """The files of a hub id: only they say whether it is an adapter, or quantized and to be widened. Raises
    StageError."""
    if isinstance(model_folder(path), Path):
        return path
    source = inputs.Source(str(path), "model", "hub")
    try:
        return inputs.download(source.repository, "model", inputs.resolve_hub(source))
    except inputs.InputError as error:
        raise StageError(str(error)) from error


def _require_whole(model: LanguageModel, found: Mapping[str, Collection[str]]) -> None:
    """Raises StageError where the files lack a parameter that is not tied to another one: transformers draws it at
    random and says so in a log alone. Buffers that are missing begin as they are made. `found` is what transformers
    tells of the loading."""
    own = {name for name, _ in model.named_parameters()}
    missing = sorted(own & set(found["missing_keys"]))
    if not missing:
        return
    around = next((part for part in _WRAPPERS for name in found["unexpected_keys"] if f".{part}" in f".{name}"), None)
    hint = (f"; its files have names with {around!r}, which {_WRAPPERS[around]} puts there: save the model that is "
            "inside of it") if around else ""
    raise StageError(f"its files lack weights, which would be drawn at random: {audit.some(missing)}{hint}")


def _outputs_settled(model: LanguageModel) -> list[str]:
    """What a config says of all that forwards give back, as a look at attention leaves it behind: trainings want what
    is usual, and with `output_attentions` transformers refuses to save the model."""
    usual = {"output_attentions": False, "output_hidden_states": False, "return_dict": True}
    changed = {}
    for config in {id(one): one for one in (model.config, model.config.get_text_config())}.values():
        for name, value in usual.items():
            if getattr(config, name) != value:
                setattr(config, name, value)
                changed[name] = value
    return [f"{name} of its config is taken for {str(value).lower()}" for name, value in changed.items()]


def _drawing_settled(model: LanguageModel) -> list[str]:
    """transformers loads a generation_config with a `temperature` or `top_p` and without `do_sample`, as many models
    have it, and refuses to save it: that the model is to be drawn from is taken to be meant. Of one that it refuses
    for something else the special tokens are kept, which is all that stages read of it."""
    own = model.generation_config
    if _saves(own):
        return []
    own.do_sample = True
    if _saves(own):
        return ["its generation_config gets do_sample: true, without which it is not saved"]
    ids = {name: value for name, value in own.to_diff_dict().items() if name.endswith("_token_id")}
    model.generation_config = GenerationConfig(**ids)
    return ["of its generation_config, which transformers refuses to save, the special tokens are kept"]


def _saves(config: GenerationConfig) -> bool:
    try:
        config.validate(strict=True)
    except ValueError:
        return False
    return True


def _first_line(error: Exception) -> str:
    """The next one, too, where the first only announces it, as torch's "Error(s) in loading state_dict for X:"."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def _told(model: LanguageModel, tokenizer: Tokenizer, weights: Weights, settled: Sequence[str]) -> str:
    config = model.config.get_text_config()
    context = limit_of(config.to_dict())
    facts = [
        f"{config.model_type}, {parameters(model):,} parameters in {str(model.dtype).removeprefix('torch.')}, "
        f"from {weights}",
        f"context {context:,}" if context else "no limit of context",
        f"{len(tokenizer):,} tokens, {'a' if tokenizer.chat_template else 'no'} chat template",
        *settled,
    ]
    return "; ".join(facts)


def sha256(path: Path | str) -> str:
    """SHA-256 over the files of a local model (weights, config and tokenizer, by name), or over its GGUF file; of a hub
    id its commit."""
    folder = model_folder(path)
    if isinstance(folder, Path):
        return inputs.fingerprint_of_path(folder)
    try:
        return inputs.resolve_hub(inputs.Source(str(folder), "model", "hub"))
    except inputs.InputError as error:
        raise StageError(str(error)) from error


def save(model: LanguageModel, tokenizer: Tokenizer, out: Path, adapter_of: Path | str | None = None) -> None:
    """Write model and tokenizer, chat template included, under `out`/model; all processes call it together, and the
    first writes.

    `adapter_of` is the base of the adapter that lies in `out`/adapter, if there is one; a sharded model is saved as
    what both are together. Raises StageError where what was written, or base and adapter together, is not the model.
    """
    # of a sharded model, base and adapters are put together from files
    state = {} if adapter_of is not None and sharded(model) else whole_state(model)
    if not processes.is_first():
        return
    if adapter_of is not None:
        with built_whole():
            base = load(adapter_of, str(model.dtype).removeprefix("torch."))[0]  # type: ignore[arg-type]
        together = lora.with_adapter(base, out / "adapter").state_dict()
        if state:
            audit.require_same(state, together, f"after saving: {out / 'adapter'} on its base does not give")
        state = together
    # how it was loaded, which transformers saves as a property of it
    tokenizer.init_kwargs.pop("local_files_only", None)
    # A copy of the dict, from which transformers takes tied weights out.
    model.save_pretrained(out / "model", state_dict=dict(state))
    audit.check_state(class_of(model), state, out / "model", "after saving")
    mtp.save(model, out)
    tokenizer.save_pretrained(out / "model")


def parameters(model: LanguageModel) -> int:
    """How many parameters the model has; tied ones count once, and adapters beside them do not."""
    return sum(numbers(parameter) for name, parameter in model.named_parameters() if ".lora_" not in name)


_WITHOUT_POSITIONS = frozenset({"jamba", "kimi_linear", "nemotron_h", "zamba"})
"""Families whose recurrent layers tell the order, so that `max_position_embeddings` is no more than what they were
trained at."""


def trained_context(model: LanguageModel) -> int | None:
    """How many tokens the model was made for, prompt and answer together; None where its config does not say."""
    return limit_of(model.config.get_text_config().to_dict())


def context_of(path: Path | str) -> int | None:
    """`trained_context` of what `load` loads, from its config alone. Raises StageError."""
    return limit_of(config_of(path))


def config_of(path: Path | str, commit: str | None = None) -> JsonObject:
    """The fields of the config of what `load` loads, where it is of several kinds of input those of text and what its
    weights are in; of a hub id at this commit. Nothing else is read or downloaded but the tokenizer of an adapter,
    which may add to its base's vocabulary. Raises StageError."""
    weights = weights_of(path)
    try:
        config = AutoConfig.from_pretrained(
            weights.folder, revision=commit, trust_remote_code=False, **weights.config_options
        )
        fields: JsonObject = config.get_text_config().to_dict()
        # What all weights are in is said once, outside of the text's fields.
        for name, said in config.to_dict().items():
            if name in ("dtype", "quantization_config") and fields.get(name) is None:
                fields[name] = said
        if weights.tokenizer_of_adapter:
            fields["vocab_size"] = _embeddings(weights, _tokenizer(weights), fields["vocab_size"])
    except Exception as error:  # as in `_read`, and a network
        raise StageError(f"{path} has no config that can be read: {_first_line(error)}") from error
    return fields


def context_length(model: LanguageModel) -> int | None:
    """How many tokens the model can be given; None where rotary positions, or none at all, set no limit but quality."""
    config = model.config.get_text_config()
    endless = config.to_dict().get("rope_parameters") or config.model_type in _WITHOUT_POSITIONS
    # Rotary positions can be computed for any length; learned ones end.
    return None if endless else getattr(config, "max_position_embeddings", None)
