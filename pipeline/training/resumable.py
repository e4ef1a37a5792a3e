"""A transformers Trainer that is stopped anywhere and goes on to the same bytes."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from eval.language_model import LanguageModel
from pipeline.contract.checkpoints import Checkpoints
from pipeline.contract.errors import StageError, StageStopped
from pipeline.disk.durable import JsonObject
from pipeline.models import audit
from pipeline.models.audit import differences
from pipeline.training.base_trainer import BaseTrainer

_TRAINED = "trained.pt"  # what can change of a model that is trained in part


class Stateful(Protocol):
    """Something beside a trainer that goes on with it. A state is made of tensors, numbers, strings, and lists and
    dicts. Its tensors come back on the processor, from wherever they were: what is to be elsewhere `restore` moves."""

    def state(self) -> JsonObject: ...
    def restore(self, state: JsonObject) -> None: ...


class Resumable(BaseTrainer):
    """A mixin: put it before the trainer that it makes resumable, and call `train_with` instead of `train`.

    What the Trainer saves itself (optimizer, scheduler, counters, every random stream) is left to it. Beside that:

    - checkpoints are whole or not there, are made on a schedule or when asked to stop, and hold `own_state` and the
      states of what was given to `train_with`;
    - fused experts are loaded back. Trainer's own loading skips them without an error, since a file names each expert's
      tensors and the model one tensor for all of them (transformers #48805);
    - a checkpoint of another number of processes is gone on from, where the runner was asked to go on inexactly:
      sharded weights and moments are put together anew (torch's distributed checkpoints do so, DeepSpeed's do not),
      and `regrouped` makes this process's state of all of theirs;
    - of a model that is trained in part (adapters), the checkpoint is that part: the rest is where it was loaded from;
    - the data has to be one epoch in a fixed order, as long as the training: what a sampler has drawn for later epochs
      is in no checkpoint (trl's RepeatSampler begins anew after a resumption).
    """

    checkpoints: Checkpoints | None = None
    beside: Mapping[str, Stateful]

    def own_state(self) -> JsonObject:
        """What the trainer has besides what Trainer saves."""
        return {}

    def restore_own(self, state: JsonObject) -> None:
        """Take back what `own_state` gave."""

    def train_with(self, checkpoints: Checkpoints, **beside: Stateful) -> None:
        """Train to the end, from the last checkpoint where there is one. Raises StageStopped when asked to stop before
        the end."""
        self.checkpoints, self.beside = checkpoints, beside
        saving = _Saving(checkpoints)
        self.add_callback(saving)
        found = checkpoints.latest()
        if found:
            states = self._states(found.path)
            # Before `train`, which goes on from the counters at once.
            self.restore_own(states["own"])
            for name, part in beside.items():
                part.restore(states["beside"][name])
        with checkpoints.until_stopped():
            self.train(resume_from_checkpoint=str(found.path / f"checkpoint-{found.step}") if found else None)
        if saving.stopped:
            raise StageStopped(f"stopped at step {self.state.global_step}, with a checkpoint")

    def create_model_card(self, *args: object, **kwargs: object) -> None:
        """None is made: trl would write one with each checkpoint."""

    def regrouped(self, states: Sequence[JsonObject]) -> JsonObject:
        """This process's own state, made of those of each process of a checkpoint, which were more or fewer than there
        are now."""
        return states[0]

    def _states(self, folder: Path) -> JsonObject:
        """Raises StageError for DeepSpeed's checkpoints of another number of processes."""
        count = len([*folder.glob("states-*.pt")])
        if count == self.args.world_size:
            return _loaded(folder / self._states_file)
        if self.is_deepspeed_enabled:
            raise StageError(f"its checkpoint {folder.name} is of {count} processes, and DeepSpeed's checkpoints go on "
                             f"with as many: now there are {self.args.world_size}")
        everyones = [_loaded(folder / f"states-{place}.pt") for place in range(count)]
        # What is beside tells of the step at hand, and the first process's is as good as another's.
        return {"own": self.regrouped([one["own"] for one in everyones]), "beside": everyones[0]["beside"]}

    @property
    def _states_file(self) -> str:
        return f"states-{self.args.process_index}.pt"

    def _get_output_dir(self, trial: object) -> str:
        return str(self.checkpoints.temporary) if self.checkpoints else super()._get_output_dir(trial)

    def _save_checkpoint(self, model: nn.Module, trial: object) -> None:
        assert self.checkpoints
        with contextlib.ExitStack() as stack:
            if self.accelerator.is_main_process:
                # One process makes the folder and names it when it is whole; the others wait before and after they
                # write.
                stack.enter_context(self.checkpoints.writing(self.state.global_step))
            self.accelerator.wait_for_everyone()
            super()._save_checkpoint(model, trial)
            states = {"own": self.own_state(), "beside": {name: part.state() for name, part in self.beside.items()}}
            torch.save(states, self.checkpoints.temporary / self._states_file)
            self.accelerator.wait_for_everyone()
        self.accelerator.wait_for_everyone()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if self.collective and _internal_call:
            return  # Trainer saves the parts beside their optimizer
        frozen = {name for name, parameter in self.model.named_parameters() if not parameter.requires_grad}
        if self.collective or not _internal_call or output_dir is None or not frozen:
            super().save_model(output_dir, _internal_call)
            if output_dir is not None and self.args.should_save and not self.collective:
                audit.check(self.model, output_dir, "after a checkpoint")
        elif self.args.should_save:
            Path(output_dir).mkdir(exist_ok=True)
            # buffers move too
            part = {name: value for name, value in self.model.state_dict().items() if name not in frozen}
            torch.save(part, Path(output_dir) / _TRAINED)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        part = Path(resume_from_checkpoint) / _TRAINED
        if part.exists():
            # Not strict: the frozen rest is not in the file, and is where it was loaded from.
            self.model.load_state_dict(_loaded(part), strict=False)
        elif self.collective:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            load_exactly(self.model if model is None else model, resume_from_checkpoint)  # type: ignore[arg-type]


def _loaded(file: Path) -> JsonObject:
    # The device that a process had may be another's now, or not be here.
    found: JsonObject = torch.load(file, map_location="cpu", weights_only=True)
    return found


def load_exactly(model: LanguageModel, folder: str) -> None:
    """Load every parameter and persistent buffer of a transformers model from a folder that it was saved to.

    Goes through `from_pretrained`, which fuses experts as it should. Raises StageError where the model is not what was
    saved.
    """
    saved = type(model).from_pretrained(folder, dtype="auto").state_dict()  # type: ignore[attr-defined]
    model.load_state_dict(saved, strict=True)
    if faults := differences(saved, model.state_dict()):
        raise StageError(f"after resuming: {folder} is not what the model holds: {'; '.join(faults)}")


class _Saving(TrainerCallback):
    """Asks for a checkpoint where one is due, and for an end after it where the process was asked to stop."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.stopped = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if control.should_training_stop:  # the end: what follows is saved as the stage's output
            return
        # The process that writes them alone knows when the last one was and what it cost.
        due = state.is_world_process_zero and self.checkpoints.due(state.global_step)
        due, stop = self._agreed(due, self.checkpoints.stopping)
        control.should_save = control.should_save or due or stop
        if stop:
            self.stopped = control.should_training_stop = True

    @staticmethod
    def _agreed(*wishes: bool) -> list[bool]:
        """What any process wishes: clocks and signals differ between them, and all have to save together."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return list(wishes)
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        votes = torch.tensor(wishes, dtype=torch.int32, device=device)
        torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX)
        return [bool(vote) for vote in votes]
