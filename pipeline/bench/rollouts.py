"""Tokens a second of our rollouts, and beside them `model.generate` on the same model, prompts and lengths.

The models have random weights and would never end a text by themselves in a useful way, so where each rollout ends is
drawn beforehand (log-normal, long-tailed), and both sides are driven there by the same arithmetic: at every step the
logit of the end-of-text token is set, by row and step, to `NEVER` before the end and to `NOW` at it. transformers gets
this as a LogitsProcessor, ours by overriding `NativeEngine.shape`. Everything else is drawn from the model's own
distribution at temperature 1. Both sides so write the same number of tokens, find the ends themselves, and pay for one
indexed assignment a step.

`generate` runs at its best setting on a CPU: all rollouts in one batch, sdpa, a dynamic cache, experts as one grouped
multiplication, and none of its optional warpers.

The toys are as small as two cores ask for and not smaller: at hidden size 256 and 4 layers a step of 64 rows spends
most of its time in multiplications and not in Python on either side; the weights of a layer's experts (8 or 16 of them,
top 2) exceed the second-level cache, as those of real models do. The vocabulary is 4096, since what a token's drawing
costs grows with it. Beside them stand models of SmolLM2-135M's shape, dense and as a Mixture of Experts, with its
vocabulary of 49,152.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, LogitsProcessor, LogitsProcessorList

from eval.engine.native import NativeEngine
from eval.engine.speculation.row import Row
from eval.engine.types import Request, Sampled, Sampling
from eval.language_model import LanguageModel
from pipeline.disk.durable import JsonObject

ROUNDS = 5
GROUP = 8
MOST = 256
MEAN, SIGMA = 60.0, 0.8
PROMPTS = (48, 80)
EOS, PAD = 1, 0
NEVER, NOW = -1e4, 1e4

_COMMON: JsonObject = {
    "vocab_size": 4096, "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8,
    "max_position_embeddings": 1024, "pad_token_id": PAD, "bos_token_id": 2, "eos_token_id": EOS,
    "tie_word_embeddings": True, "initializer_range": 0.05,
}
_QWEN3_MOE = {
    **_COMMON, "model_type": "qwen3_moe", "num_key_value_heads": 2, "head_dim": 32, "num_experts": 16,
    "num_experts_per_tok": 2, "moe_intermediate_size": 128, "decoder_sparse_step": 1, "norm_topk_prob": True,
    "router_aux_loss_coef": 0.0,
}
_DEEPSEEK_V3 = {
    **_COMMON, "model_type": "deepseek_v3", "num_key_value_heads": 8, "first_k_dense_replace": 1,
    "intermediate_size": 640, "n_routed_experts": 16, "num_experts_per_tok": 2, "n_shared_experts": 1,
    "moe_intermediate_size": 128, "n_group": 1, "topk_group": 1, "kv_lora_rank": 64, "q_lora_rank": 96,
    "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 32,
}
_DENSE = {**_COMMON, "model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 768}
_SMOLLM2 = {
    **_COMMON, "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64, "intermediate_size": 1536,
}
_SMOLLM2_MOE = {
    **_SMOLLM2, "model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 1536,
    "decoder_sparse_step": 1, "norm_topk_prob": True, "router_aux_loss_coef": 0.0,
}


@dataclass(frozen=True)
class Case:
    """A model, how many rollouts, whether they are all equally long, what weights are in and where; and tokens of a
    rollout, on the mean and at most."""

    architecture: JsonObject
    rollouts: int
    uniform: bool = False
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    mean: float = MEAN
    most: int = MOST

    def model(self) -> LanguageModel:
        return build(self.architecture, self.dtype, self.device)

    def ends(self, seed: int) -> "Ends":
        return Ends(lengths(self.rollouts, seed, self.uniform, self.mean, self.most), self.device)


TOYS = {
    "qwen3_moe_64": Case(_QWEN3_MOE, 64),
    "qwen3_moe_256": Case(_QWEN3_MOE, 256),
    "deepseek_v3_64": Case(_DEEPSEEK_V3, 64),
    "dense_64": Case(_DENSE, 64),
    "uniform_64": Case(_QWEN3_MOE, 64, uniform=True),
}
FEW, MANY = 32, 128
SMOLLM2 = {
    f"{name}_{count}_{'fp32' if dtype is torch.float32 else 'bf16'}": Case(architecture, count, dtype=dtype)
    for dtype in (torch.float32, torch.bfloat16)
    for name, architecture in (("smollm2", _SMOLLM2), ("smollm2_moe", _SMOLLM2_MOE))
    for count in (FEW, MANY)
}
CASES = {"toys": TOYS, "smollm2": SMOLLM2}
"""By the models that `retort bench --model` asks for."""
CHECKED = 64  # rollouts whose log-probabilities are computed again


@dataclass(frozen=True)
class Measured:
    """What came of a case. Rates are of completion tokens; `share_of_peak` is what our multiplications reach of this
    machine's fastest (two floating point operations a weight and token, attention included, prompts counted once)."""

    ratio: float
    ratio_min: float
    ratio_max: float
    tokens_per_s: float
    baseline_tokens_per_s: float
    share_of_peak: float
    max_logprob_error: float


class Ends:
    """Where each rollout ends, [rollouts] in tokens, as a table of end-of-text logits [rollouts, MOST]."""

    def __init__(self, lengths: Sequence[int], device: str = "cpu") -> None:
        self.lengths = list(lengths)
        table = torch.full((len(self.lengths), max(self.lengths)), NEVER)
        table[torch.arange(len(self.lengths)), torch.tensor(self.lengths) - 1] = NOW
        self.table = table.to(device)


class DrivenEngine(NativeEngine):
    """The engine, with its rollouts driven to their ends. Rollout i is the i-th in the order asked."""

    def __init__(self, model: LanguageModel, ends: Ends, experts: Sequence[nn.Module] = ()) -> None:
        super().__init__(model, {EOS}, experts=experts)
        self.driven = ends

    def shape(self, logits: Tensor, rows: Sequence[Row], counts: Sequence[int]) -> Tensor:
        ahead = [(row, len(row.ids) + place) for row, count in zip(rows, counts, strict=True) for place in range(count)]
        which = [row.request * GROUP + row.index for row, _ in ahead]
        logits[:, EOS] = self.driven.table[which, [written for _, written in ahead]]
        return logits


class DrivenProcessor(LogitsProcessor):
    """The same for `generate`, whose rows stay in their order and in step."""

    def __init__(self, ends: Ends) -> None:
        self.ends, self.step = ends, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        scores[:, EOS] = self.ends.table[:, self.step]
        self.step += 1
        return scores


def lengths(count: int, seed: int, uniform: bool = False, mean: float = MEAN, most: int = MOST) -> list[int]:
    """Lengths of `count` rollouts: log-normal of this mean, at least 1 and at most `most`; or all the mean."""
    if uniform:
        return [int(mean)] * count
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.exp(torch.randn(count, generator=generator) * SIGMA + math.log(mean) - SIGMA**2 / 2)
    return [max(1, min(most, round(value))) for value in drawn.tolist()]


def requests(count: int, vocabulary: int, seed: int) -> list[Request]:
    """Groups of 8 rollouts of random prompts of 48 to 80 tokens."""
    generator = torch.Generator().manual_seed(seed)
    asked = []
    for group in range(count // GROUP):
        size = int(torch.randint(PROMPTS[0], PROMPTS[1] + 1, (1,), generator=generator))
        prompt = torch.randint(3, vocabulary, (size,), generator=generator).tolist()
        asked.append(Request(prompt, [seed * 2**20 + group * GROUP + place for place in range(GROUP)]))
    return asked


def build(architecture: JsonObject, dtype: torch.dtype = torch.float32, device: str = "cpu") -> LanguageModel:
    """A random model in eval mode, at the settings `generate` is fastest with. On a GPU its weights are drawn there."""
    fields = dict(architecture)
    torch.manual_seed(0)
    config = AutoConfig.for_model(fields.pop("model_type"), **fields)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=dtype).eval()
    if "experts" in "".join(name for name, _ in model.named_parameters()):
        model.set_experts_implementation("grouped_mm")
    made: LanguageModel = model
    return made


@torch.no_grad()
def generate(model: LanguageModel, asked: Sequence[Request], ends: Ends) -> int:
    """`model.generate` on all rollouts in one batch; the number of completion tokens it wrote."""
    prompts = [list(request.prompt) for request in asked for _ in request.seeds]
    longest = max(map(len, prompts))
    ids = torch.tensor([[PAD] * (longest - len(p)) + p for p in prompts], device=model.device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=model.device)
    written = model.generate(  # type: ignore[attr-defined]
        ids, attention_mask=mask, do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
        max_new_tokens=ends.table.shape[1], use_cache=True, eos_token_id=EOS, pad_token_id=PAD,
        logits_processor=LogitsProcessorList([DrivenProcessor(ends)]),
    )[:, longest:]
    # the end is written once in each row, and padding after it
    return int((written == EOS).int().argmax(dim=1).add(1).sum())


@torch.no_grad()
def logprob_error(
    model: LanguageModel, asked: Sequence[Request], ends: Ends, drawn: Sequence[Sequence[Sampled]]
) -> float:
    """Largest difference of a recorded log-probability to one full forward of its rollout, without any cache; of the
    first `CHECKED` rollouts."""
    worst, rollout = 0.0, 0
    for request, group in zip(asked[: CHECKED // GROUP], drawn, strict=False):
        for one in group:
            ids = torch.tensor([[*request.prompt, *one.ids]], device=model.device)
            logits = model(input_ids=ids, use_cache=False).logits[0, len(request.prompt) - 1 : -1].float()
            logits[:, EOS] = ends.table[rollout, : len(logits)].to(logits)
            expected = logits.log_softmax(-1).cpu().gather(-1, torch.tensor(one.ids).unsqueeze(-1)).squeeze(-1)
            worst = max(worst, float((expected - torch.tensor(one.logprobs)).abs().max()))
            rollout += 1
    return worst


def peak(dtype: torch.dtype = torch.float32, size: int = 2048, device: str = "cpu") -> float:
    """Floating point operations a second of torch's fastest multiplication on this machine, the best of several."""
    one = torch.randn(size, size, device=device).to(dtype)
    return max(2 * size**3 / seconds(lambda: one @ one) for _ in range(8))


def operations(model: LanguageModel, asked: Sequence[Request], ends: Ends) -> float:
    """Floating point operations that the rollouts need at least: each weight in use twice a token, scores and mixed
    values."""
    config = model.config.to_dict()
    used = 0.0  # weights of the layers that a token meets
    for parameter in model.model.layers.parameters():  # type: ignore[attr-defined]
        if parameter.dim() == 3:  # experts, their number first
            used += parameter[0].numel() * config["num_experts_per_tok"]
        elif parameter.dim() == 2:
            used += parameter.numel()
    head, heads = model.get_output_embeddings().weight.numel(), config["num_attention_heads"]  # type: ignore[operator]
    if config.get("kv_lora_rank"):
        a_pair = heads * 2 * (2 * config["kv_lora_rank"] + config["qk_rope_head_dim"])
    else:
        a_pair = heads * 4 * (config.get("head_dim") or config["hidden_size"] // heads)
    total, rollout = 0.0, 0
    for request in asked:
        before = len(request.prompt)
        total += 2 * used * before + config["num_hidden_layers"] * a_pair * before**2 / 2
        for _ in request.seeds:
            # the last token is written and not read
            steps = ends.lengths[rollout] - 1
            attention = config["num_hidden_layers"] * a_pair * (before + steps / 2) * steps
            total += 2 * (used + head) * steps + attention + 2 * head
            rollout += 1
    return total


def measure(case: Case, rounds: int = ROUNDS, tell: Callable[[str], None] = lambda _: None) -> Measured:
    """Both sides in turn, `rounds` times, each round with its own prompts and lengths."""
    model = case.model()
    fastest = peak(case.dtype, device=case.device)
    ours, theirs, share, error = [], [], [], 0.0
    _warm_up(model)
    for number in range(rounds):
        asked = requests(case.rollouts, case.architecture["vocab_size"], seed=number)
        ends = case.ends(seed=number)
        engine, drawn = DrivenEngine(model, ends), []
        mine = seconds(lambda: drawn.extend(engine.sample(asked, Sampling(case.most))))  # noqa: B023
        tokens = sum(len(one.ids) for group in drawn for one in group)
        written: list[int] = []
        other = seconds(lambda: written.append(generate(model, asked, ends)))  # noqa: B023
        if not tokens == written[0] == sum(ends.lengths):
            raise RuntimeError(f"{tokens} and {written[0]} tokens were written, not {sum(ends.lengths)}")
        if number == 0:
            error = logprob_error(model, asked, ends, drawn)
        ours.append(tokens / mine)
        theirs.append(tokens / other)
        share.append(operations(model, asked, ends) / mine / fastest)
        tell(f"{ours[-1] / theirs[-1]:.2f}")
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return Measured(statistics.median(ratios), min(ratios), max(ratios), statistics.median(ours),
                    statistics.median(theirs),
                    statistics.median(share), error)


def _warm_up(model: LanguageModel) -> None:
    asked, ends = requests(GROUP, model.config.vocab_size, seed=0), Ends([4] * GROUP, str(model.device))
    DrivenEngine(model, ends).sample(asked, Sampling(4))
    generate(model, asked, ends)


def growth(rounds: int = 3) -> dict[str, dict[int, float]]:
    """Our tokens a second of the Qwen3-MoE case as one thing grows: rollouts at once, length, experts, layers."""
    wholes = {
        "rollouts": {n: Case(_QWEN3_MOE, n, uniform=True) for n in (8, 16, 32, 64, 128, 256)},
        "experts": {n: Case({**_QWEN3_MOE, "num_experts": n}, 64, uniform=True) for n in (4, 8, 16, 32, 64)},
        "layers": {n: Case({**_QWEN3_MOE, "num_hidden_layers": n}, 64, uniform=True) for n in (1, 2, 4, 8)},
    }
    found = {name: {n: _ours(case, int(MEAN), rounds) for n, case in cases.items()} for name, cases in wholes.items()}
    found["length"] = {n: _ours(Case(_QWEN3_MOE, 64), n, rounds) for n in (16, 64, 256, 512)}
    return found


def _ours(case: Case, length: int, rounds: int) -> float:
    model = build(case.architecture)
    asked, ends = requests(case.rollouts, case.architecture["vocab_size"], seed=0), Ends([length] * case.rollouts)
    engine = DrivenEngine(model, ends)
    engine.sample(asked, Sampling(min(length, 8)))
    return statistics.median(
        case.rollouts * length / seconds(lambda: engine.sample(asked, Sampling(length))) for _ in range(rounds)
    )


def seconds(work: Callable[[], object], clock: Callable[[], float] | None = None) -> float:
    """How long `work` takes by `clock`; without one by the wall's, or on one thread in seconds of a processor, which
    other work on the machine moves less."""
    gpu = torch.cuda.is_available()  # which is asked for work and does it later
    clock = clock or (time.process_time if torch.get_num_threads() == 1 and not gpu else time.perf_counter)
    began = clock()
    work()
    if gpu:
        torch.cuda.synchronize()
    return clock() - began
