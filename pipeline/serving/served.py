"""A model that a vLLM server draws from: started or found, given the weights of now, and held against the model."""

import contextlib
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from eval.ends import ends_of
from eval.engine import engine_for
from eval.engine.types import Engine, Request, Sampled, Sampling, Written, rollout_seed
from eval.errors import ServerError
from eval.language_model import LanguageModel, Tokenizer
from eval.vllm.engine import VllmEngine
from eval.vllm.process import started
from eval.vllm.server import VllmServer
from pipeline.contract import processes
from pipeline.contract.errors import StageError
from pipeline.contract.stage import Context
from pipeline.moe.replay import divergence
from pipeline.moe.routers import routers
from pipeline.serving import weights
from pipeline.serving.section import Engines, Vllm
from pipeline.serving.speculation import drafter_of, told
from pipeline.training.placement import placed
from rewards.lazy import lazy

with lazy:
    import torch
    from accelerate.utils import broadcast_object_list
    from torch import distributed

    from pipeline.training.logprobs import completion_logprobs

HANDFUL, LONG = 4, 32
"""Prompts that are asked after new weights, and most tokens of each answer."""


class Served:
    """`engine` draws from `model` as it was when `refresh` was called last."""

    def __init__(
        self, model: LanguageModel, tokenizer: Tokenizer, server: VllmServer, folder: Path, experts: bool
    ) -> None:
        """Weights go through `folder`, which the server has to see under the same path. With `experts` each rollout has
        those that its tokens took."""
        self.model, self.tokenizer, self.server, self.folder = model, tokenizer, server, folder
        layers = [router.layer for router in routers(model)] if experts else []
        self.engine: Engine = _OfTheseWeights(self, VllmEngine(server, ends_of(tokenizer, model), layers))
        self._token = ""  # of the weights that were sent last

    def refresh(self) -> None:
        """Send the model's weights of now; all processes call it together. Raises StageError."""
        weights.write(self.model, self.tokenizer, self.folder)
        token = [uuid.uuid4().hex]
        if processes.is_first():
            try:
                self.server.load(str(self.folder.resolve()), *token)
                self.server.forget_prefixes()
            except ServerError as error:
                raise StageError(str(error)) from error
            finally:
                shutil.rmtree(self.folder)
        if distributed.is_available() and distributed.is_initialized():
            broadcast_object_list(token)
            distributed.barrier()
        [self._token] = token

    def require_own(self) -> None:
        """Raise StageError where the server has other weights than it was sent last: somebody else uses it, or it was
        started anew. Before any are sent it has those that it was started with."""
        try:
            own = not self._token or self.server.has(self._token)
        except ServerError as error:
            raise StageError(str(error)) from error
        if not own:
            raise StageError(f"the vLLM server at {self.server.url} has lost this stage's weights: another stage or "
                             "run has sent its own, or it was started anew; give each run a server of its own, and "
                             "run again, which goes on from what is there")


class _OfTheseWeights:
    """An engine whose server may be anybody's: what it draws is taken where the weights were one's own before and
    after."""

    def __init__(self, served: Served, engine: VllmEngine) -> None:
        self._served, self._engine = served, engine

    def sample(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        progress: Callable[[int, int], None] | None = None,
        written: Written | None = None,
    ) -> list[list[Sampled]]:
        """As `Engine` has it. Raises StageError, and ServerError."""
        self._served.require_own()
        found = self._engine.sample(requests, sampling, progress, written)
        self._served.require_own()
        return found


@contextlib.contextmanager
def served(
    model: LanguageModel, tokenizer: Tokenizer, vllm: Vllm, folder: Path, dtype: str | None = None,
    experts: bool = False,
) -> Iterator[Served]:
    """The model on the server at `vllm.url`, which is not yet given its weights, or on one that is started for as long
    as this lasts, by one process alone, with weights in `dtype`, or the model's own. `folder` is for weights on their
    way. Raises StageError."""
    if vllm.url:
        yield Served(model, tokenizer, VllmServer(vllm.url), folder / "weights", experts)
        return
    folder.mkdir(parents=True, exist_ok=True)
    first = folder / "first"  # stays while the server lives, which may read its config again
    weights.write(model, tokenizer, first)
    try:
        dtype = dtype or str(model.dtype).removeprefix("torch.")
        with started(vllm.serving(dtype, experts), first, folder / "vllm.log") as server:
            yield Served(model, tokenizer, server, folder / "weights", experts)
    except ServerError as error:
        raise StageError(str(error)) from error
    finally:
        shutil.rmtree(first, ignore_errors=True)


class OnDemand:
    """The engine of a server for a model that stays as it is. The server is started, or given the weights, and held
    against the model by the first prompts that it is asked: where every rollout is there already, nothing is."""

    def __init__(self, serve: Callable[[], Served], vllm: Vllm) -> None:
        self.serve, self.vllm = serve, vllm
        self.engine: Engine | None = None

    def sample(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        progress: Callable[[int, int], None] | None = None,
        written: Written | None = None,
    ) -> list[list[Sampled]]:
        """As `Engine` has it. Raises StageError where the server does not draw from the model."""
        if self.engine is None:
            one = self.serve()
            if self.vllm.url:
                one.refresh()
            require_alike(divergence_of(one, requests, sampling.max_tokens), self.vllm, "this model")
            self.engine = one.engine
        return self.engine.sample(requests, sampling, progress, written)


@contextlib.contextmanager
def drawing(model: LanguageModel, tokenizer: Tokenizer, by: Engines, ctx: Context) -> Iterator[Engine]:
    """An engine that draws from a model which stays as it is: this process's own, or vLLM's, for which this process is
    then the only one that draws. Raises StageError."""
    if by.engine == "native":
        with placed(model):
            engine = engine_for(model, tokenizer, drafter=drafter_of(model, by.speculate))
            yield engine
            if said := told(engine):
                ctx.note(said)
        return
    with contextlib.ExitStack() as inside:
        yield OnDemand(lambda: inside.enter_context(served(model, tokenizer, by.vllm, folder_of(ctx))), by.vllm)


def folder_of(ctx: Context) -> Path:
    """Where a stage's weights are on their way to vLLM: beside its checkpoints, on a disk that all machines see."""
    return ctx.checkpoints.folder.parent / "vllm"


def divergence_of(one: Served, requests: Sequence[Request], most: int = LONG) -> float:
    """The KL divergence a token of the model from what the server draws, by short answers to a handful of these, which
    may have as much room as they say, and no more than `most` tokens."""
    asked = [
        replace(request, seeds=[rollout_seed("divergence", place)]) for place, request in enumerate(requests[:HANDFUL])
    ]
    drawn = one.engine.sample(asked, Sampling(min(LONG, most)))
    total, tokens = 0.0, 0
    with torch.no_grad():
        for request, [answer] in zip(asked, drawn, strict=True):
            ids = torch.tensor([[*request.prompt, *answer.ids]], device=one.model.device)
            count = len(answer.ids)
            logprobs = completion_logprobs(one.model, ids, torch.ones_like(ids), count, 1.0)[0].cpu()
            sampled = torch.tensor([answer.logprobs])
            total += divergence(logprobs, sampled, torch.ones_like(sampled)) * count
            tokens += count
    return total / max(1, tokens)


def require_alike(found: float, vllm: Vllm, what: str) -> None:
    """Raise StageError where the divergence is more than the recipe allows, or no number."""
    if not found <= vllm.most_divergence:
        raise StageError(
            f"vLLM does not draw from {what}: its probabilities are {found:.3g} a token away (KL divergence; at most "
            f"{vllm.most_divergence:g}, which is vllm.most_divergence); the weights have not arrived whole, or vLLM "
            "computes this architecture in another way"
        )
