"""A stage. In a recipe, beside its file:

    short: {kind: my_stage.py:MyStage, data: traces, most_words: 200}
"""

import json
from typing import ClassVar

from pydantic import Field

from pipeline.stage import ArtifactType, Context, DatasetInput, Metrics, Stage, StageError


class MyStage(Stage):
    """Keeps the rows of a dataset whose completions are short."""

    kind: ClassVar[str] = "my_stage"
    makes: ClassVar[ArtifactType] = "dataset"
    # Modules that are loaded before the stage begins; the default is what training needs, which takes seconds.
    preload: ClassVar[tuple[str, ...]] = ()

    # The fields are all that a recipe can say of the stage, and equal fields make an equal artifact.
    data: DatasetInput = Field(description="rows with a completion each: an earlier stage such as `sample`")
    most_words: int = Field(default=200, ge=1, description="longest completion that is kept, in words")

    def run(self, ctx: Context) -> Metrics:
        lines = (ctx.path(self.data) / "data.jsonl").read_text().splitlines()
        kept = [line for line in lines if len(json.loads(line)["completion"].split()) <= self.most_words]
        # What a person can mend is a StageError, told in one line.
        if not kept:
            raise StageError(f"none of {len(lines)} completions has at most {self.most_words} words: raise most_words")
        (ctx.out / "data.jsonl").write_text("".join(f"{line}\n" for line in kept))
        ctx.note(f"kept {len(kept)} of {len(lines)} rows")
        return {"rows": len(lines), "kept": len(kept)}
