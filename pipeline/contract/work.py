"""What a stage computes, as it says itself before it runs: `retort plan --on` reckons memory, hours and money from
it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from eval.protocol import Prompting
from pipeline.disk.durable import JsonMapping

WithModule = Literal["with", "beside"]
"""Whether a model learns of the loss of its module for multi-token prediction."""

Where = Literal["started", "given", "inside"]
"""Where vLLM draws: in a server that the stage starts, in one that it was given, or inside of its own processes."""


@dataclass(frozen=True)
class ByVllm:
    """That vLLM draws, whose memory elsewhere is not reckoned.

    gpus     of the server that the stage starts, all of which draw. A server that is there already is reckoned with as
             many GPUs as the stage has processes; inside, each process draws its share
    besides  share of the memory of the stage's own GPU that vLLM takes, where it has none of its own
    """

    where: Where
    gpus: int = 1
    besides: float = 0.0


@dataclass(frozen=True)
class Trained:
    """Optimizer steps on rows.

    model      the input reference of the model that is trained; None is the one that the stage makes from nothing
    batch      rows of an optimizer step, over all processes
    steps      optimizer steps; None where `epochs` over the rows of `data` say it
    length     most tokens of a row; None is the model's context
    data       the dataset's reference; None where the stage makes its rows itself, of at most `length` tokens
    shares     of several datasets, by their references, each one's share of the rows; `data` is None then
    limit      the first so many rows of `data` are used
    prompting  how rows of `data` are put
    learning   the fields of `training.learning.Learning`, as a recipe has them
    adapters   those of `models.lora.Lora`; None where all weights are trained
    reference  whether a frozen copy of the model is held, and scores every token beside it
    teacher    the input reference of a model that is held as well, and scores every token
    mtp        whether a module for multi-token prediction is trained with the model, whose gradients come from it, too,
               or beside it, from what the model's forwards have made
    fp8        whether products are computed in eight bits
    compiled   whether torch.compile makes a program of each layer
    """

    model: str | None
    batch: int
    steps: int | None = None
    length: int | None = None
    data: str | None = None
    epochs: float = 1.0
    limit: int | None = None
    prompting: Prompting = field(default_factory=Prompting)
    learning: JsonMapping = field(default_factory=dict)
    adapters: JsonMapping | None = None
    reference: bool = False
    shares: Mapping[str, float] = field(default_factory=dict)
    teacher: str | None = None
    mtp: WithModule | None = None
    fp8: bool = False
    compiled: bool = False


@dataclass(frozen=True)
class Drawn:
    """Completions that a model writes to the problems that the stage asks.

    model      the model's input reference
    each       completions of a problem
    most       most tokens of a completion
    prompts    problems of a round, over all processes; None is every problem that the stage asks
    rounds     how often that is done
    dtype      what the weights are in while drawing; None is what the model is in
    vllm       where vLLM draws; None is the engine of the stage's own processes, each of which draws its share
    trained    whether the completions are what the stage trains on, which so lie beside the training's state
    speculate  what drafts tokens: nothing, the text itself (`lookup`), or the model's module (`mtp`)
    dynamic    whether groups without signal are drawn anew
    """

    model: str
    each: int
    most: int
    prompts: int | None = None
    rounds: int = 1
    dtype: str | None = None
    vllm: ByVllm | None = None
    trained: bool = False
    speculate: Literal["off", "lookup", "mtp"] = "off"
    dynamic: bool = False

    @property
    def started(self) -> int | None:
        """GPUs of the server that the stage starts; None where it starts none."""
        return self.vllm.gpus if self.vllm and self.vllm.where == "started" else None


@dataclass(frozen=True)
class Work:
    """A stage's work: trainings, one after the other, and drawings. `loaded` are models that are held beside each
    other, `made` says how often the one that the stage makes is; `rows` are the most rows of a dataset that it
    makes. `readers` are models that read the rows of the training once before it, beside the model that learns them, in
    one process while others wait: each of them every row, or, where the training has `shares`, one of them each row."""

    trained: Sequence[Trained] = ()
    drawn: Sequence[Drawn] = ()
    loaded: Sequence[str] = ()
    made: int = 0
    rows: int | None = None
    readers: Sequence[str] = ()
