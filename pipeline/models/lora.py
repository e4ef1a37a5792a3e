"""Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) through peft, on linear layers and on fused experts."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from eval.language_model import LanguageModel
from pipeline.contract import processes
from pipeline.contract.errors import StageError
from pipeline.contract.stage import Context
from pipeline.models import audit
from pipeline.models.shards import sharded, whole_state
from rewards.lazy import lazy

with lazy:
    import torch
    from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model, load_peft_weights
    from peft.tuners.lora.layer import LoraLayer, ParamWrapper
    from torch import Tensor, nn
    from transformers import PreTrainedModel


_IN_PEFT = "base_model.model."
"""What the names of the model's parameters begin with inside of peft's."""

NOT_CALLED = ".dt_proj"
"""Of Mamba: a linear layer whose weight is used without calling it, so that an adapter of it would do nothing."""

_NAMES_OF_EXPERTS = (".gate_proj", ".up_proj", ".down_proj")


class Lora(BaseModel):
    """An adapter of `rank` on every linear layer, or on those whose names end as in `targets`; `experts` adds the fused
    experts, which are parameters and no layers (peft's `target_parameters`), and is the default where a family has them
    (DBRX and dense models do not). The update is scaled by `alpha` / `rank`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(default=16, ge=1, le=65_536, description="rank of the adapters' matrices")
    alpha: float = Field(default=32.0, gt=0, le=1e6, description="the adapters' update is scaled by alpha / rank")
    targets: Annotated[list[str], Field(min_length=1)] | Literal["all-linear"] = Field(
        default="all-linear", description="layers that get adapters: those whose names end so, or every linear layer"
    )
    experts: bool | None = Field(
        default=None, description="adapters for fused experts, too; true where it is left out and the family has them"
    )


@contextlib.contextmanager
def adapted(model: LanguageModel, lora: Lora | None, ctx: Context, base: str) -> Iterator[None]:
    """Give the model's layers adapters, in place, for as long as this lasts; its own weights are frozen then.

    At the end the adapters are saved as peft does, under `ctx.out`/adapter, and added to the weights; those of a model
    that was sharded meanwhile stay beside them, and `pretrained.save` adds them. `base` is what they say they belong
    to. With no `lora` nothing happens.
    """
    if lora is None:
        yield
        return
    wrapped = add(model, lora, ctx.seed)
    yield
    # peft would write down where this process loaded it from, which means nothing elsewhere.
    wrapped.active_peft_config.base_model_name_or_path = base
    # Put together from the parts by all processes; one writes.
    state = {f"{_IN_PEFT}{name}": value for name, value in whole_state(model, ".lora_").items()}
    if processes.is_first():
        wrapped.save_pretrained(ctx.out / "adapter", state_dict=state)
        # peft's form of a card, not filled in, with the folder that the base was loaded from
        (ctx.out / "adapter" / "README.md").unlink(missing_ok=True)
    if not sharded(model):
        # Where whoever loads the adapters adds them: sums are rounded otherwise on a GPU, and what is saved is held
        # bit by bit against what was trained.
        wrapped.to("cpu").merge_and_unload()


def add(model: LanguageModel, lora: Lora, seed: int) -> "PeftModel":
    """A peft model around `model`. The half of the adapters that is not zero is drawn from `seed`.

    Routers and the head get none, nor does Mamba's `dt_proj`. In families whose experts transformers fuses, peft takes
    `gate_proj`, `up_proj` and `down_proj` for names of experts and forgets the dense and shared layers of these names
    (peft 0.21); there their weights are named as parameters, which it leaves alone.
    """
    head, experts = model.get_output_embeddings(), _fused_experts(model)
    if lora.experts and not experts:
        raise StageError(f"lora: {model.config.model_type} models have no fused experts to adapt; leave `experts` out")
    linear = {
        name for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head and not name.endswith(NOT_CALLED)
    }
    wanted = {
        name for name in linear if (
            ".router." not in f"{name}." if lora.targets == "all-linear" else name.endswith(tuple(lora.targets))
        )
    }
    for target in () if lora.targets == "all-linear" else lora.targets:
        if not any(name.endswith(target) for name in wanted):
            ends = sorted({name.rpartition(".")[2] for name in linear})
            raise StageError(f"lora: no linear layer's name ends in {target!r}; {model.config.model_type} models have "
                             f"{', '.join(ends)}")
    # See the docstring: these are linear layers that peft takes for experts by their names.
    mistaken = {name for name in wanted if experts and name.endswith(_NAMES_OF_EXPERTS)}
    parameters = sorted(f"{name}.weight" for name in mistaken) + ([] if lora.experts is False else experts)
    if not wanted and not parameters:
        raise StageError(f"lora: {model.config.model_type} models have no linear layers or experts to adapt; train it "
                         "without `lora`")
    # peft draws from the global stream, which must not depend on what was drawn before.
    torch.manual_seed(seed)
    return get_peft_model(model, LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=sorted(wanted - mistaken),
        target_parameters=parameters or None,
        task_type="CAUSAL_LM",
    ))


def with_adapter(model: LanguageModel, folder: Path) -> LanguageModel:
    """The model with the adapter in `folder` added to its weights, in place. Raises StageError where names in the
    adapter's file are not those of this model: peft passes over such, and that part of the adapter does nothing.

    A head that is tied to the embeddings stays so where both are still the same."""
    peft_config = PeftConfig.from_pretrained(folder, inference_mode=True)
    if peft_config.is_prompt_learning or peft_config.is_adaption_prompt:
        raise StageError(f"an adapter that learns a prompt ({peft_config.peft_type.value}) changes no weights, so that "
                         "it cannot be added to them: take its base, or an adapter of weights such as LoRA")
    plain = cast("PreTrainedModel", model)
    tied = dict(plain.all_tied_weights_keys)
    shared = {target: plain.get_parameter(source) for target, source in tied.items()}
    configs = [(config, config.tie_word_embeddings) for config in (plain.config, plain.config.get_text_config())]
    wrapped = get_peft_model(model, peft_config)
    found = wrapped.load_adapter(folder, wrapped.active_adapter)
    wrong = {
        "weights for which that has no place": _without_place(folder, found.unexpected_keys),
        "none for layers that it adapts": found.missing_keys,
    }
    said = [f"{what} ({audit.some(names)})" for what, names in wrong.items() if names]
    if said:
        raise StageError(f"the adapter does not fit its base, a {model.config.model_type}: it has "
                         f"{' and '.join(said)}; set base_model_name_or_path to what it was trained on")
    for target, parameter in shared.items():
        _own(model.get_submodule(target.rpartition(".")[0]), parameter)
    merged: PreTrainedModel = wrapped.merge_and_unload()
    if tied:
        alike = all(torch.equal(merged.get_parameter(one), merged.get_parameter(other)) for one, other in tied.items())
        for config, before in configs:
            config.tie_word_embeddings = before and alike
        merged.all_tied_weights_keys = merged.get_expanded_tied_weights_keys(all_submodels=True)
        merged.tie_weights()
    return cast(LanguageModel, merged)


def _without_place(folder: Path, unexpected: list[str]) -> list[str]:
    """Those of the names in an adapter's file that peft knows no place for whose numbers do not stand there under
    another name, too: of embeddings and heads that were trained peft writes some twice, and reads them once."""
    twice = [name for name in unexpected if ".modules_to_save." in name or ".token_adapter." in name]
    if not twice:
        return unexpected
    state = load_peft_weights(str(folder), device="cpu")
    read = [value for name, value in state.items() if name not in unexpected]
    spared = {name for name in twice if any(torch.equal(state[name], value) for value in read)}
    return [name for name in unexpected if name not in spared]


def _own(part: "nn.Module", tied: "nn.Parameter") -> None:
    """Give a part of a model its own copy of a parameter that it shares: what is added to the head would be added to
    the embeddings, too."""
    copy = nn.Parameter(tied.detach().clone(), requires_grad=tied.requires_grad)
    for module in part.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter is tied:
                setattr(module, name, copy)


def merged_state(model: LanguageModel) -> "dict[str, Tensor]":
    """The state dict of a model with its adapters added to the weights, under the names that it has without adapters.
    The model, which is whole, stays as it is: to add them in place and take them off again would leave other weights,
    by rounding.
    """
    state = {_without_adapter(name): value for name, value in whole_state(model).items() if ".lora_" not in name}
    for name, layer in model.named_modules():
        if isinstance(layer, LoraLayer):
            [adapter] = layer.active_adapters
            # peft wraps a module with two fused matrices twice, and an adapter belongs to one of them.
            matrix = layer.parameter_name if isinstance(layer, ParamWrapper) else "weight"
            weight = f"{_without_adapter(name)}.{matrix}"
            # peft keeps adapters in full precision, whatever the weights are in.
            state[weight] = (state[weight] + layer.get_delta_weight(adapter).detach()).to(state[weight].dtype)
    return state


def _without_adapter(name: str) -> str:
    return name.replace(".base_layer", "")


def _fused_experts(model: LanguageModel) -> list[str]:
    """Parameters that hold the matrices of all experts of a layer, [experts, out, in]."""
    return [name for name, parameter in model.named_parameters() if ".experts." in name and parameter.ndim == 3]
