"""What the experts of a trained model have specialized in, after OpenMoE (arXiv 2402.01739) and Mixtral (arXiv
2401.04088)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eval.language_model import LanguageModel
from pipeline.disk.durable import JsonObject
from pipeline.moe.capacity import fitting
from pipeline.moe.routers import Router, Routing, routers

BATCH = 16  # texts a forward
SPANS = 4  # equal parts of a text, for what is dropped


@dataclass(frozen=True)
class Text:
    """One text that was routed: its token ids [tokens], and a layer's experts and weights, both [tokens, top_k], best
    first."""

    ids: Tensor
    chosen: Tensor
    weights: Tensor


def analyse(
    model: LanguageModel, domains: Mapping[str, Sequence[Sequence[int]]], capacity: float = 1.25
) -> list[JsonObject]:
    """For each MoE layer of the model, over the texts (token ids) of each domain:

    "layer", "experts", "top_k" "load"             by domain, each expert's share of the choices over an even one
    (Mixtral, figure 7) "token_decides"    how often the first choice for a token can be told from its id alone, and
    from nothing ("without"): context- independent specialization (OpenMoE, section 4.2) "repeats"          how often
    consecutive tokens share their first choice, or either of their choices, and what chance would give (Mixtral, table
    5) "dropped"          the share of choices beyond `capacity` times an even share of a text, by quarter of the text:
    those that come last find experts full (OpenMoE, section 4.3)

    The model is read as it is, in evaluation mode. Raises UnknownFamilyError for a family whose routers are not known;
    for a dense model the list is empty.
    """
    found = routers(model)
    seen = {domain: _routed(model, found, texts) for domain, texts in domains.items()}
    return [_layer(place, router, seen, capacity) for place, router in enumerate(found)]


def _layer(place: int, router: Router, seen: Mapping[str, list[list[Text]]], capacity: float) -> JsonObject:
    by_domain = {domain: layers[place] for domain, layers in seen.items()}
    every = [text for texts in by_domain.values() for text in texts]
    return {
        "layer": router.layer,
        "experts": router.experts,
        "top_k": router.top_k,
        "load": {domain: relative_load(texts, router.experts) for domain, texts in by_domain.items()},
        "token_decides": token_decides(every, router.experts),
        "repeats": repeats(every, router.experts, router.top_k),
        "dropped": dropped(every, router.experts, capacity),
    }


@torch.no_grad()
def _routed(model: LanguageModel, found: Sequence[Router], texts: Sequence[Sequence[int]]) -> list[list[Text]]:
    """The texts as each layer routed them."""
    layers: list[list[Text]] = [[] for _ in found]
    training = model.training
    model.eval()
    for batch in _batches(texts):
        longest = max(map(len, batch))
        ids = torch.tensor([[*text, *[0] * (longest - len(text))] for text in batch], device=model.device)
        mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in batch], device=model.device)
        routings: list[Routing] = []
        handles = [handle for router in found for handle in router.watch(routings.append)]
        model(input_ids=ids, attention_mask=mask, use_cache=False)
        for handle in handles:
            handle.remove()
        for layer, routing in zip(layers, routings, strict=True):
            # Families choose in different orders; here the expert with the largest weight is always first.
            weights, order = routing.weights.float().sort(dim=1, descending=True, stable=True)
            shape = (len(batch), longest, -1)
            chosen, weights = routing.chosen.gather(1, order).view(shape), weights.view(shape)
            layer += [
                Text(ids[row, : len(text)].cpu(), chosen[row, : len(text)].cpu(), weights[row, : len(text)].cpu())
                for row, text in enumerate(batch)
            ]
    model.train(training)
    return layers


def _batches(texts: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    """Texts of similar length together; empty ones are left out."""
    ordered = sorted(filter(len, texts), key=len)
    for first in range(0, len(ordered), BATCH):
        yield ordered[first : first + BATCH]


def relative_load(texts: Sequence[Text], experts: int) -> list[float]:
    """Each expert's share of all choices, over an even one."""
    counts = torch.bincount(torch.cat([text.chosen.flatten() for text in texts]), minlength=experts).float()
    relative: list[float] = (counts / counts.mean()).tolist()
    return relative


def token_decides(texts: Sequence[Text], experts: int) -> dict[str, float | None]:
    """How often the most frequent first choice of a token's other occurrences is its own ("share"), over tokens that
    occur at least twice; "without" takes all tokens for occurrences of one. A tie counts as a guess among those that
    tie. None where nothing occurs twice."""
    ids = torch.cat([text.ids for text in texts])
    first = torch.cat([text.chosen[:, 0] for text in texts])
    # Ids are renumbered, so that the table has a row for each that occurs and none for the rest of the vocabulary.
    numbers = torch.unique(ids, return_inverse=True)[1]
    counts = torch.zeros(int(numbers.max()) + 1, experts).index_put_((numbers, first), torch.ones(()), accumulate=True)
    return {"share": _told(counts), "without": _told(counts.sum(dim=0, keepdim=True))}


def _told(counts: Tensor) -> float | None:
    """Of counts [ids, experts]: how often the rest of an id's occurrences would tell an occurrence's expert."""
    repeated = counts[counts.sum(dim=1) >= 2]
    if not len(repeated):
        return None
    right = 0.0
    for expert in range(counts.shape[1]):
        others = repeated.clone()
        # Each occurrence is told by the others: without itself a rare id would always be right.
        others[:, expert] -= 1
        best = others.max(dim=1, keepdim=True).values
        leads = (others == best).float()
        # Where several experts lead, one of them is guessed.
        right += float((repeated[:, expert] * leads[:, expert] / leads.sum(dim=1)).sum())
    return right / float(repeated.sum())


def repeats(texts: Sequence[Text], experts: int, top_k: int) -> dict[str, float | None]:
    """The share of consecutive tokens with the same first choice, and with a choice in common, None where no text has
    two tokens; with what chance gives."""
    pairs = same = common = 0
    for text in texts:
        before, after = text.chosen[:-1], text.chosen[1:]
        pairs += len(before)
        same += int((before[:, 0] == after[:, 0]).sum())
        # any of the one among any of the other
        common += int((before[:, :, None] == after[:, None, :]).flatten(1).any(dim=1).sum())
    # that two draws of top_k experts have none in common
    chance = 1 - math.comb(experts - top_k, top_k) / math.comb(experts, top_k)
    return {
        "first": same / pairs if pairs else None, "first_by_chance": 1 / experts,
        "any": common / pairs if pairs else None, "any_by_chance": chance,
    }


def dropped(texts: Sequence[Text], experts: int, capacity: float) -> list[float]:
    """The share of choices that capacity would drop, by quarter of the texts, each text being a batch of its own."""
    lost, choices = torch.zeros(SPANS), torch.zeros(SPANS)
    for text in texts:
        fits = fitting(text.chosen, text.weights, experts, capacity)
        spans = torch.arange(len(fits)) * SPANS // len(fits)
        choices.index_add_(0, spans, torch.full((len(fits),), float(fits.shape[1])))
        lost.index_add_(0, spans, (~fits).sum(dim=1).float())
    shares: list[float] = (lost / choices.clamp(min=1)).tolist()
    return shares
