"""Our half of the comparison with lm-evaluation-harness: see README.md."""

import json
import sys
from pathlib import Path
from typing import Any

from eval.engine import engine_for
from eval.engine.types import Sampling
from eval.problems import load
from eval.prompts import render
from eval.protocol import Prompting
from eval.rollouts import Draws, collect
from pipeline.models import pretrained
from rewards.grade import grade
from rewards.types import Completion, Problem

STOP = ("Question:", "</s>", "<|im_end|>")  # as in the harness's gsm8k.yaml
MOST_TOKENS = 64

# name -> (whether the completion is right, how it is written). {s}: the solution without its last line, {a}: the
# answer, {w}: the answer plus 1, {c} and {t}: the answer with commas and with LaTeX's thin spaces between thousands,
# {d}: twice the answer
STYLES: dict[str, tuple[bool, str]] = {
    "gold solution": (True, "{s}\n#### {a}"),
    "gold, thousands separated": (True, "{s}\n#### {c}"),
    "gold, with dollars": (True, "{s}\n#### ${a}"),
    "gold, as a decimal": (True, "{s}\n#### {a}.00"),
    "gold, full stop": (True, "{s}\n#### {a}."),
    "gold, then a check": (True, "{s}\n#### {a}\n\nThis took 97 steps."),
    "the answer is": (True, "{s}\nThe answer is {a}."),
    "the answer is, bold": (True, "{s}\n**Answer: {a}**"),
    "box": (True, "{s}\nSo it is \\boxed{{{a}}}."),
    "box, then prose": (True, "{s}\n\\boxed{{{a}}} follows from the 97 steps above."),
    "thinking and tags": (True, "<think>{s}</think><answer>{a}</answer>"),
    "tags, as a fraction": (True, "<think>{s}</think><answer>{d}/2</answer>"),
    "LaTeX thin space": (True, "{s}\n#### {t}"),
    "wrong": (False, "{s}\n#### {w}"),
    "wrong, sign": (False, "{s}\n#### -{a}"),
    "wrong, ten times": (False, "{s}\n#### {a}0"),
    "wrong, right one denied": (False, "{s}\nThe answer is {w}, not {a}"),
    "wrong, right in thinking": (False, "<think>{s}\n#### {a}</think><answer>{w}</answer>"),
    "wrong, right one last": (False, "{s}\n#### {w}\nSomeone else said {a}"),
    "two answers": (False, "{s}\n#### {a} or {w}"),
    "no answer": (False, "<think>{s} So {a}"),
}


def styles(out: Path) -> None:
    """Completions of known worth, with our verdict on each."""
    with (out / "styles.jsonl").open("w") as file:
        for problem in load("gsm8k:test"):
            solution = str(problem.meta["solution"]).rpartition("\n####")[0].replace("#", "")
            if not problem.answer.isdecimal() or problem.answer == "0":
                continue
            for name, (right, style) in STYLES.items():
                value = int(problem.answer)
                text = style.format(
                    s=solution, a=value, w=value + 1, c=f"{value:,}", t=f"{value:,}".replace(",", "\\,"), d=2 * value
                )
                verdict = grade(problem, Completion(text))
                file.write(json.dumps({"style": name, "right": right, "gold": problem.meta["solution"], "text": text,
                                       "ours": verdict.correct, "label": verdict.label,
                                       "reason": verdict.reason}) + "\n")


def greedy(out: Path, model: Any, tokenizer: Any, name: str, problems: list[Problem], prompting: Prompting) -> None:
    """Our completions at temperature 0, beside the prompts for the harness."""
    draws = Draws(1, Sampling(MOST_TOKENS, 0.0), (0,), prompting)
    rollouts = collect(engine_for(model, tokenizer), tokenizer, problems, draws)
    prompts = render(tokenizer, problems, prompting)
    with (out / f"{name}.jsonl").open("w") as file:
        for one, prompt in zip(rollouts, prompts, strict=True):
            answer = one.problem.meta.get("solution", f"#### {one.problem.answer}")
            file.write(json.dumps({"id": one.problem.id, "prompt": prompt, "question": one.problem.prompt,
                                   "answer": answer,
                                   "ours": one.verdict.correct, "text": one.completion.text}) + "\n")


def main() -> None:
    out, reference = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    styles(out)
    model, tokenizer = pretrained.load(reference)
    greedy(out, model, tokenizer, "word_problems", load("word_problems:test", 200), Prompting())
    greedy(out, model, tokenizer, "gsm8k", load("gsm8k:test", 120), Prompting(template="qa", stop=STOP))
    (out / "model.txt").write_text(str(Path(pretrained.model_folder(reference)).resolve()))


if __name__ == "__main__":
    main()
