"""What can be compared of distributions over two vocabularies: the text that stands there, the words that both have,
and how the likeliest of the others are distributed.

At the first token of a span (`alignment.py`) a model's distribution becomes one over outcomes. The first is that the
span's text is written as it stands there: the product of what the model gives its tokens, by the chain rule (GOLD,
Patiño et al. 2025). Then come the words that both vocabularies have as the same text, and at last all others, of which
the likeliest that the other vocabulary lacks are told by their probabilities alone, in falling order (ULD, Boizard et
al. 2024, arXiv 2402.12030, section 3.2). Where both models have one vocabulary all words are shared, the others are
none, and the divergence is that of `logits`.

What is not as there. GOLD multiplies all of the first token's distribution by the later tokens' probabilities; here
that is done to the token that stands there, and what is left of it is among the others, so that outcomes sum to 1.
It weighs the two parts by how many words are shared; here they are weighed by their probability alone. Left out are
other ways to cut a span's text into tokens, and pairs of words that are alike and not equal.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from transformers.convert_slow_tokenizer import bytes_to_unicode

from eval.language_model import Tokenizer
from pipeline.distillation.alignment import Reader
from pipeline.distillation.divergences import LEAST, forward_kl
from pipeline.distillation.teachers import TOP_K, WHOLE, Told

_ALMOST = -1e-6
"""The logarithm of a probability of tokens that are as good as certain, of which nothing else is left."""

_BYTES = {character: byte for byte, character in bytes_to_unicode().items()}


class Seen(NamedTuple):
    """Log-probabilities of tokens: of the token that stands there [n], of shared words [n, k], of all others but these
    [n], and of the likeliest that the other vocabulary lacks [n, ranked]; which shared words are meant is `places`
    [n, k], of no columns where all are."""

    drawn: Tensor
    words: Tensor
    others: Tensor
    alone: Tensor
    places: Tensor


@dataclass(frozen=True)
class Half:
    """One model's part: how many words it knows, its ids of the shared ones, and of those that the other lacks."""

    known: int
    shared: Tensor
    alone: Tensor

    @classmethod
    def of(cls, known: int, shared: Sequence[int]) -> "Half":
        alone = torch.ones(known, dtype=torch.bool)
        alone[torch.tensor(shared, dtype=torch.long)] = False
        return cls(known, torch.tensor(shared, dtype=torch.long), alone.nonzero().flatten())

    def log_probs(self, logits: Tensor, temperature: float) -> Tensor:
        """Over all known words, in fp32, [n, known]."""
        return torch.log_softmax(logits[..., : self.known].float() / temperature, dim=-1)


@dataclass(frozen=True)
class SharedWords:
    """The words of a student and of a teacher. Distributions are told over `top_k` of the shared ones, None for all,
    and `ranked` of those that the student lacks."""

    mine: Half
    theirs: Half
    top_k: int | None
    ranked: int

    @classmethod
    def of(
        cls, mine: Reader, known: int, theirs: Reader, their_known: int, top_k: int | None
    ) -> "SharedWords":
        """Of two tokenizers and how many words their models know. The tokens that end turns are the same word."""
        texts, their_texts = _texts(mine.tokenizer, known), _texts(theirs.tokenizer, their_known)
        ends = (mine.ends_with, theirs.ends_with)
        pairs = [(id_, their_texts[text]) for text, id_ in texts.items() if text in their_texts]
        pairs = sorted([ends, *(pair for pair in pairs if pair[0] != ends[0] and pair[1] != ends[1])])
        halves = Half.of(known, [one for one, _ in pairs]), Half.of(their_known, [other for _, other in pairs])
        most = top_k or (len(pairs) if len(pairs) <= WHOLE else TOP_K)
        ranked = min(len(halves[1].alone), top_k or TOP_K)
        return cls(*halves, most if most < len(pairs) else None, ranked)

    @property
    def known(self) -> int:
        return self.theirs.known

    @property
    def width(self) -> int:
        """Of what is told of a span: its text, shared words, the likeliest of the others, and the rest of these."""
        return 1 + (len(self.mine.shared) if self.top_k is None else self.top_k) + self.ranked + 1

    def digest(self) -> str:
        parts = [self.mine.shared.tolist(), self.theirs.shared.tolist(), self.ranked]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def see(self, half: Half, log_probs: Tensor, drawn: Tensor, apart: Tensor, places: Tensor | None) -> Seen:
        """What one model's log_probs [n, known] say, where the tokens `drawn` [n] stand. `apart` [n, 2] are the places
        among the shared words, or -1, of the first tokens of both models: what they are the beginning of is told of by
        the chain rule, and so they are no words here. With `places` these are the words that are told apart; without
        them they are the likeliest."""
        shared = half.shared.to(log_probs.device)
        gone = torch.zeros(len(log_probs), len(shared) + 1, dtype=torch.bool, device=log_probs.device)
        gone = gone.scatter(1, apart.masked_fill(apart < 0, len(shared)), True)[:, :-1]
        if self.top_k is not None and places is None:
            places = log_probs[:, shared].masked_fill(gone, -torch.inf).topk(self.top_k, dim=-1).indices
        ids = shared.expand(len(log_probs), -1)
        if places is not None:
            ids, gone = ids.gather(1, places), gone.gather(1, places)
        mine = drawn.unsqueeze(-1)
        words = log_probs.gather(1, ids).masked_fill(gone, LEAST)
        # A word that is told apart is none of the others; in the place of one that is not stands the drawn one.
        left = log_probs.scatter(1, torch.cat([torch.where(gone, mine, ids), mine], dim=1), -torch.inf)
        # Where no other is left there is the least that counts, of which a gradient can be told.
        least = left.new_full((len(left), 1), LEAST)
        alone = left[:, half.alone.to(left.device)]
        alone = functional.pad(alone, (0, max(0, self.ranked - alone.shape[1])), value=-torch.inf)
        return Seen(
            log_probs.gather(1, mine).squeeze(-1), words, torch.cat([left, least], dim=1).logsumexp(dim=-1),
            alone.topk(self.ranked, dim=-1).values,
            torch.zeros(len(log_probs), 0, dtype=torch.long, device=left.device) if places is None else places,
        )

    def told(self, seen: Seen, starts: Tensor, lengths: Tensor) -> Told:
        """What a teacher tells of spans that begin at `starts` [spans] among its tokens, [spans, width]."""
        whole, others = outcomes(seen, starts, lengths)
        alone = seen.alone[starts]
        rest = (others.exp() - alone.exp().sum(dim=-1)).clamp(min=0).log()
        columns = [whole.unsqueeze(-1), seen.words[starts], alone, rest.unsqueeze(-1)]
        return Told(torch.cat(columns, dim=-1).clamp(min=LEAST), None if self.top_k is None else seen.places[starts])

    def divergence(self, seen: Seen, starts: Tensor, lengths: Tensor, told: Tensor) -> Tensor:
        """Of a student at spans that begin at `starts` from what a teacher `told` [spans, width], [spans]."""
        whole, others = outcomes(seen, starts, lengths)
        mine = torch.cat([whole.unsqueeze(-1), seen.words[starts], others.unsqueeze(-1)], dim=-1)
        words = mine.shape[1] - 1
        ranked = told[:, words : words + self.ranked].exp()
        theirs = torch.cat([told[:, :words].exp(), told[:, words:].exp().sum(dim=-1, keepdim=True)], dim=-1)
        apart = (seen.alone[starts].exp() - ranked).abs().sum(dim=-1)
        return forward_kl(mine, theirs) + apart


def outcomes(seen: Seen, starts: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Of spans that begin at `starts` and are `lengths` tokens long, both [spans]: the logarithm of the probability of
    their text, and of all that is neither that nor a word that is told apart."""
    first = seen.drawn[starts]
    steps = torch.arange(1, max(1, int(lengths.max())) if len(lengths) else 1, device=starts.device)
    there = steps < lengths.unsqueeze(-1)
    places = (starts.unsqueeze(-1) + steps).masked_fill(~there, 0)
    later = seen.drawn[places].masked_fill(~there, 0).sum(dim=-1)
    # Of the first token what is not the beginning of this text is one of the others.
    left = first + torch.log1p(-later.clamp(max=_ALMOST).exp())
    others = torch.logaddexp(seen.others[starts], torch.where(lengths > 1, left, torch.full_like(left, LEAST)))
    return first + later, others


def _texts(tokenizer: Tokenizer, known: int) -> Mapping[tuple[bool, bytes], int]:
    """The ids of words by their texts in bytes, those that are special apart from the others."""
    kinds = _kinds(json.loads(tokenizer.backend_tokenizer.to_str())["decoder"])
    added = tokenizer.added_tokens_decoder
    found: dict[tuple[bool, bytes], int] = {}
    for word, id_ in sorted(tokenizer.get_vocab().items(), key=lambda one: one[1]):
        if id_ < known:
            text = (bool(added[id_].special), str(added[id_].content).encode()) if id_ in added else \
                (False, _bytes(word, kinds))
            found.setdefault(text, id_)
    return found


def _kinds(decoder: object) -> set[str]:
    """What a tokenizer does to make texts of words, by tokenizers' names."""
    if not isinstance(decoder, Mapping):
        return set()
    inner = [_kinds(one) for one in decoder.get("decoders", [])]
    # gemma's replaces the mark that stands for a space, as Metaspace does
    marks = {"Metaspace"} if decoder.get("pattern") == {"String": "▁"} else set()
    return {str(decoder.get("type")), *marks}.union(*inner)


def _bytes(word: str, kinds: set[str]) -> bytes:
    if "ByteLevel" in kinds and all(character in _BYTES for character in word):
        return bytes(_BYTES[character] for character in word)
    if "ByteFallback" in kinds and len(word) == 6 and word.startswith("<0x") and word.endswith(">"):
        return bytes.fromhex(word[3:5])
    return (word.replace("▁", " ") if "Metaspace" in kinds else word).encode()
