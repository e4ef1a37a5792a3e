"""Which artifacts an attempt at a run may use: those that are as they were made, from what is there."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.contract.errors import RunError
from pipeline.recipe.fingerprint import Fingerprint
from pipeline.recipe.recipe import Recipe, Step
from pipeline.run.display.progress import Display
from pipeline.run.versions import chose_by_processor, is_portable
from pipeline.store.run_folder import RunFolder
from pipeline.store.store import MANIFEST, Artifact, Store
from pipeline.store.verify import faults_of, made_from_others, other_inputs


@dataclass(frozen=True)
class Reuse:
    """Finds artifacts and looks whether they can be used.

    With `mend` one that cannot be is set aside, so that its stage runs again, and so is what was made from other bytes
    than its inputs have, or without `--portable` where the run has it; without `mend` the first is refused and the
    others are told. `command` is what a person types to go on with the run.
    """

    recipe: Recipe
    prints: Mapping[str, Fingerprint]
    store: Store
    run: RunFolder
    display: Display
    command: str
    mend: bool = False

    def ready(self) -> dict[str, Artifact]:
        """What is made already, by stage. Raises RunError with a line for each artifact that was changed since."""
        found: dict[str, Artifact] = {}
        changed: list[str] = []
        for name, step in self.recipe.steps.items():
            # What an input will be like once it is made again decides over what was made from it.
            if self.mend and (any(needed not in found for needed in step.needs) or self._is_to_be_mended(name, found)):
                continue
            try:
                artifact = self.find(name, found)
            except RunError as error:
                changed += error.lines
                continue
            if artifact:
                found[name] = artifact
        changed += [line for step in self.recipe.steps.values() for line in self._changed_paths(step)]
        if changed:
            raise RunError(list(dict.fromkeys(changed)))
        return found

    def find(self, name: str, made: Mapping[str, Artifact]) -> Artifact | None:
        """The artifact of a stage whose inputs are in `made`, if there is one to be used. Raises RunError.

        One that is to be mended is put aside: who calls this has the artifact's lock, or another run may have just made
        it again.
        """
        artifact = self.store.find(name, self.prints[name])
        if artifact is None:
            return None
        faults = faults_of(artifact, self.store.hashes)
        if faults and not self.mend:
            raise RunError(self._refusal(name, faults))
        others = [] if faults else self._others(name, artifact, made)
        if others and not self.mend:
            self._note(name, f"{others[0]}; --mend makes it again")
        elif faults or others:
            aside = self.store.set_aside(artifact.path)
            self._note(name, f"{(faults + others)[0]}: it is made again, and what there was is in {aside}")
            return None
        return artifact

    def tell_of(self, made_now: str, made: Mapping[str, Artifact]) -> None:
        """Tell of the artifacts in `made` that were taken before this input of theirs was there, and are of another."""
        users = [name for name in made if made_now in self.recipe.steps[name].needs]
        for name in users:
            for other in other_inputs(made[name], {made_now: made[made_now]}):
                self._note(name, f"{other}; --mend makes it again")

    def check_inputs(self, name: str, made: Mapping[str, Artifact]) -> None:
        """Raises RunError where an input of a stage is no longer as it was made."""
        step = self.recipe.steps[name]
        lines = [self._refusal(needed, faults) for needed in step.needs
                 if (faults := faults_of(made[needed], self.store.hashes))]
        lines += self._changed_paths(step)
        if lines:
            raise RunError(lines)

    def _is_to_be_mended(self, name: str, made: Mapping[str, Artifact]) -> bool:
        artifact = self.store.find(name, self.prints[name])
        return artifact is not None and bool(
            faults_of(artifact, self.store.hashes) or self._others(name, artifact, made)
        )

    def _others(self, name: str, artifact: Artifact, made: Mapping[str, Artifact]) -> list[str]:
        return made_from_others(artifact, {**_given(self.recipe.steps[name]), **made}) + _unportable(artifact)

    def _changed_paths(self, step: Step) -> list[str]:
        """A line for each artifact that the recipe gives by its path and that is not as it was made."""
        return [f"{step.name}: its input {reference}: {faults[0]}; make it again, or give another"
                for reference, artifact in _given(step).items()
                if (faults := faults_of(artifact, self.store.hashes))]

    def _refusal(self, name: str, faults: list[str]) -> str:
        users = [step.name for step in self.recipe.steps.values() if name in step.needs]
        used = f", which {', '.join(users)} would be made from" if users else ""
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        return f"{name}: {faults[0]}{more}{used}; to make it again: {self.command} --mend"

    def _note(self, name: str, text: str) -> None:
        self.run.record(name, event="note", text=text)
        self.display.note(name, text)


def _given(step: Step) -> dict[str, Artifact]:
    """The artifacts that the recipe gives a stage by their paths."""
    return {reference: Artifact(source.path) for reference, source in step.sources.items()
            if source.path is not None and (source.path / MANIFEST).is_file()}


def _unportable(artifact: Artifact) -> list[str]:
    """A line where this run computes portably and the artifact was made otherwise."""
    made_on = str(artifact.manifest.get("hardware", ""))
    told = is_portable() and chose_by_processor(made_on)
    return [f"was made on {made_on} and not as --portable computes"] if told else []
