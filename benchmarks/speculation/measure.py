"""What speculation is worth: python benchmarks/speculation/measure.py MODEL [--rounds 5] [--acceptance].

MODEL is an artifact with an MTP module. Rollouts of word problems are drawn with and without drafts, in turn; rates are
of completion tokens a second of a processor, on one thread. Then the module's probabilities are held against the
model's at every place of these rollouts. With --acceptance nothing is timed: how often drafts stand does not depend on
how busy a machine is.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from eval.ends import ends_of
from eval.engine.native import NativeEngine
from eval.engine.speculation.lookup import Lookup
from eval.engine.speculation.mtp import MtpDrafter
from eval.engine.types import Request, Sampled, Sampling, rollout_seed
from eval.problems import load
from eval.prompts import encode_prompts
from pipeline.bench.rollouts import seconds
from pipeline.models import pretrained
from pipeline.models.mtp import module

BATCHES = (1, 8, 64)
GROUP = 8


def ways(model: Any) -> dict[str, Callable[..., Any] | None]:
    """What drafts, by its name and how many tokens."""
    own = module.of(model)
    assert own is not None, "the model has no MTP module"
    found: dict[str, Callable[..., Any] | None] = {"off": None}
    for most in (2, 4):
        found[f"lookup {most}"] = lambda *_, most=most: Lookup(most)
    for most in (1, 2, 3):
        found[f"mtp {most}"] = lambda decoder, sampling, most=most: MtpDrafter(
            own, model.config, most, decoder, sampling
        )
    return found


def requests(tokenizer: Any, rollouts: int, seed: int) -> list[Request]:
    group = min(GROUP, rollouts)
    problems = load("word_problems:test", rollouts // group, seed)
    return [Request(prompt, [rollout_seed("speculation", seed, place, one) for one in range(group)])
            for place, prompt in enumerate(encode_prompts(tokenizer, problems))]


def speed(model: Any, tokenizer: Any, sampling: Sampling, rounds: int) -> None:
    ends = ends_of(tokenizer, model)
    for batch in BATCHES:
        engines = {name: NativeEngine(model, ends, drafter=way) for name, way in ways(model).items()}
        rates: dict[str, list[float]] = {name: [] for name in engines}
        times = max(1, 16 // batch)  # calls of a round, so that a round of a single rollout is no shorter
        same = 0
        for number in range(rounds):
            asked = [requests(tokenizer, batch, 1000 * number + call) for call in range(times)]
            texts: dict[str, list[list[int]]] = {}
            for name, engine in engines.items():
                drawn: list[Sampled] = []

                def work(engine: NativeEngine = engine, drawn: list[Sampled] = drawn, asked: Any = asked) -> None:
                    for one in asked:
                        drawn += [done for group in engine.sample(one, sampling) for done in group]

                took = seconds(work)
                texts[name] = [one.ids for one in drawn]
                rates[name].append(sum(map(len, texts[name])) / took)
            same += all(text == texts["off"] for text in texts.values())
        print(f"temperature {sampling.temperature:g}, {batch} rollouts; the same texts in {same} of {rounds} rounds")
        for name, engine in engines.items():
            ratio = statistics.median(mine / off for mine, off in zip(rates[name], rates["off"], strict=True))
            depths = " ".join(f"{share:.2f}" for share in engine.tally.acceptance().values())
            forward = engine.tally.written / engine.tally.read if engine.tally.read else 1.0
            print(f"  {name:9} {statistics.median(rates[name]):7.0f} tokens/s  x{ratio:.2f}  "
                  f"{forward:.2f} tokens a forward  {depths}", flush=True)


def stood(model: Any, tokenizer: Any, sampling: Sampling, rounds: int) -> None:
    """How often drafts stand, by depth, in rollouts that are drawn 64 at a time."""
    engine = NativeEngine(model, ends_of(tokenizer, model), drafter=ways(model)["mtp 3"])
    for number in range(rounds):
        engine.sample(requests(tokenizer, 64, 1000 * number), sampling)
    tally, depths = engine.tally, [f"{share:.3f}" for share in engine.tally.acceptance().values()]
    print(f"temperature {sampling.temperature:g}: {tally.written} tokens, {tally.written / tally.read:.2f} a forward, "
          f"of drafts at depth 1, 2, 3 stood {' '.join(depths)}", flush=True)


@torch.no_grad()
def bounds(model: Any, tokenizer: Any, sampling: Sampling) -> None:
    """Over the places of rollouts: how often a first draft stands, by how it is made, from the probabilities alone."""
    own = module.of(model)
    assert own is not None
    asked = requests(tokenizer, 64, seed=7)
    drawn = NativeEngine(model, ends_of(tokenizer, model)).sample(asked, sampling)
    sums, places = torch.zeros(4, dtype=torch.float64), 0
    for request, group in zip(asked, drawn, strict=True):
        for one in group:
            ids = torch.tensor([[*request.prompt, *one.ids]])
            hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
            head, begun = model.get_output_embeddings(), len(request.prompt)
            # The model's for the tokens from the second of the completion on, and the module's for the same ones.
            p = head(hidden[0, begun:-1]).double().div(sampling.temperature).softmax(-1)
            states = own(model, hidden[:, :-2], ids[:, 1:-1])[0, begun - 1 :]
            q = head(states).double().div(sampling.temperature).softmax(-1)
            sums += torch.stack([torch.minimum(p, q).sum(), _coupled(p, q), p.gather(1, q.argmax(1, True)).sum(),
                                 (p * q).sum()])
            places += len(p)
    names = ("1 - TV, which rejection sampling reaches", "the same number", "the likeliest", "a number of its own")
    print(f"a first draft at temperature {sampling.temperature:g}, over {places} places:")
    for name, share in zip(names, (sums / places).tolist(), strict=True):
        print(f"  {name:42} {share:.3f}")


def _coupled(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """How much of [0, 1) inverse CDF maps to the same token under both, summed over rows."""
    ends = [one.cumsum(-1) for one in (p, q)]
    upper, lower = torch.minimum(*ends), torch.maximum(ends[0] - p, ends[1] - q)
    return (upper - lower).clamp(min=0).sum()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--acceptance", action="store_true", help="leave out what is timed")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model, tokenizer = pretrained.load(args.model)
    if args.acceptance:
        stood(model, tokenizer, Sampling(args.tokens), args.rounds)
        stood(model, tokenizer, Sampling(args.tokens, temperature=0), args.rounds)
    bounds(model, tokenizer, Sampling(args.tokens))
    for temperature in [] if args.acceptance else [1.0, 0.0]:
        speed(model, tokenizer, Sampling(args.tokens, temperature=temperature), args.rounds)


if __name__ == "__main__":
    main()
