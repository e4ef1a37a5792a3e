"""A stage. In a recipe, beside its file:

    short: {kind: my_stage.py:MyStage, data: traces, most_words: 200}
"""

import json
from typing import ClassVar

from pydantic import Field

from pipeline.stage import ArtifactType, Context, DatasetInput, Metrics, Stage, StageError, rows_of


class MyStage(Stage):
    """Keeps the rows of a dataset whose completions, or last messages, are short."""

    kind: ClassVar[str] = "my_stage"
    makes: ClassVar[ArtifactType] = "dataset"
    # Modules that are loaded before the stage begins; the default is what training needs, which takes seconds.
    preload: ClassVar[tuple[str, ...]] = ()

    # The fields are all that a recipe can say of the stage, and equal fields make an equal artifact.
    data: DatasetInput = Field(description="rows to learn from: an earlier stage such as `sample`, or a file")
    most_words: int = Field(default=200, ge=1, description="longest completion that is kept, in words")

    def run(self, ctx: Context) -> Metrics:
        rows = list(rows_of(ctx, self.data))
        # A row has a prompt and a completion, or messages.
        said = [row["completion"] if "completion" in row else row["messages"][-1]["content"] for row in rows]
        kept = [row for row, text in zip(rows, said, strict=True) if len(text.split()) <= self.most_words]
        # What a person can mend is a StageError, told in one line.
        if not kept:
            raise StageError(f"none of {len(rows)} completions has at most {self.most_words} words: raise most_words")
        (ctx.out / "data.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in kept))
        ctx.note(f"kept {len(kept)} of {len(rows)} rows")
        return {"rows": len(rows), "kept": len(kept)}
