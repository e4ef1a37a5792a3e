"""The harness's half of the comparison: see README.md. Needs lm_eval and nothing of this repository."""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import lm_eval
import yaml
from lm_eval.api.metrics import exact_match_hf_evaluate
from lm_eval.filters import build_filter_ensemble
from lm_eval.tasks import TaskManager

GSM8K = Path(lm_eval.__file__).parent / "tasks" / "gsm8k" / "gsm8k.yaml"
FILTERS = ("strict-match", "flexible-extract")


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def graded(texts: list[str], golds: list[str]) -> dict[str, list[bool]]:
    """What each filter of gsm8k.yaml and its metric make of completions."""
    config = yaml.safe_load(GSM8K.read_text())
    metric = config["metric_list"][0]
    found: dict[str, list[bool]] = {}
    for one in config["filter_list"]:
        steps = [
            [
                step["function"], {key: value for key, value in step.items() if key != "function"}
            ] for step in one["filter"]
        ]
        answers: Any = [[text] for text in texts]
        for step in build_filter_ensemble(one["name"], steps).filters:
            answers = list(step().apply(answers, [{} for _ in texts]))
        options = {key: metric[key] for key in ("ignore_case", "ignore_punctuation", "regexes_to_ignore")}
        found[one["name"]] = [
            exact_match_hf_evaluate(predictions=[str(answer)], references=[gold], **options)["exact_match"] == 1.0
            for answer, gold in zip(answers, golds, strict=True)
        ]
    return found


def agreement(out: Path) -> None:
    rows = read(out / "styles.jsonl")
    theirs = graded([row["text"] for row in rows], [row["gold"] for row in rows])
    counts: dict[tuple[str, bool], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for i, row in enumerate(rows):
        count = counts[row["style"], row["right"]]
        count["n"] += 1
        for name, verdict in (("ours", row["ours"]), *((name, theirs[name][i]) for name in FILTERS)):
            count[name] += verdict == row["right"]
            count[f"{name} = ours"] += verdict == row["ours"]
    print(f"{'style':<28}{'truth':<7}{'n':>6}{'ours':>8}{'strict':>8}{'flexible':>10}   share judged as it is")
    total: dict[str, int] = defaultdict(int)
    for (style, right), count in counts.items():
        shares = [100 * count[name] / count["n"] for name in ("ours", *FILTERS)]
        print(
            f"{style:<28}{'right' if right else 'wrong':<7}{count['n']:>6}"
            f"{shares[0]:>8.1f}{shares[1]:>8.1f}{shares[2]:>10.1f}"
        )
        for key, value in count.items():
            total[key] += value
    shares = [100 * total[name] / total["n"] for name in ("ours", *FILTERS)]
    print(f"{'all':<35}{total['n']:>6}{shares[0]:>8.1f}{shares[1]:>8.1f}{shares[2]:>10.1f}")
    print(
        f"agreement with ours: strict {total['strict-match = ours']}, flexible {total['flexible-extract = ours']} of "
        f"{total['n']}"
    )


def task(out: Path, name: str, prompt: str) -> dict[str, Any]:
    """The harness's gsm8k on a local file."""
    config = yaml.safe_load(GSM8K.read_text())
    for key in ("dataset_name", "training_split", "fewshot_split", "tag"):
        config.pop(key, None)
    return {**config, "task": f"retort_{name}", "dataset_path": "json", "num_fewshot": 0, "doc_to_text": prompt,
            "dataset_kwargs": {"data_files": {"test": str((out / f"{name}.jsonl").resolve())}},
            "generation_kwargs": {**config["generation_kwargs"], "max_gen_toks": 64}}


def run(out: Path, name: str, prompt: str) -> None:
    rows = read(out / f"{name}.jsonl")
    model = f"pretrained={(out / 'model.txt').read_text()},dtype=float32,max_length=1024"
    results = lm_eval.simple_evaluate(model="hf", model_args=model, tasks=[task(out, name, prompt)], device="cpu",
                                        batch_size=16,
                                      log_samples=True, task_manager=TaskManager(), bootstrap_iters=0)
    ours = {row["id"]: row for row in rows}
    print(f"\n{name}: the harness's hf model and our engine on {len(rows)} problems at temperature 0")
    for kind in FILTERS:
        samples = [one for one in results["samples"][f"retort_{name}"] if one["filter"] == kind]
        same_text = sum(one["resps"][0][0].strip() == ours[one["doc"]["id"]]["text"].strip() for one in samples)
        scores = [one["exact_match"] == 1.0 for one in samples]
        mine = [ours[one["doc"]["id"]]["ours"] for one in samples]
        same = sum(a == b for a, b in zip(scores, mine, strict=True))
        print(f"  {kind:<17} harness {sum(scores)} right, ours {sum(mine)}; the same verdict on {same} of "
              f"{len(samples)}; "
              f"the same text on {same_text}")
        for one, theirs, our in zip(samples, scores, mine, strict=True):
            text = ours[one["doc"]["id"]]["text"]
            if theirs != our and kind == "flexible-extract":
                print(
                    f"    {one['doc']['id']}: harness {theirs} ({one['filtered_resps'][0]!r}), ours {our}: "
                    f"{text[-100:]!r}"
                )
            if one["resps"][0][0].strip() != text.strip() and kind == "flexible-extract":
                print(f"    {one['doc']['id']}: {one['resps'][0][0]!r} and {text!r}")


def main() -> None:
    out = Path(sys.argv[1])
    agreement(out)
    run(out, "word_problems", "{{prompt}}")
    run(out, "gsm8k", "Question: {{question}}\nAnswer:")


if __name__ == "__main__":
    main()
