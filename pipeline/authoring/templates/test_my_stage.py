import json
import subprocess
import sys
from pathlib import Path

FILE = Path(__file__).with_name("my_stage.py")


def run(folder: Path, most_words: int) -> subprocess.CompletedProcess[str]:
    """A run of a recipe of this stage alone, on two rows of two and four words."""
    rows = [{"prompt": "Say something.", "completion": text} for text in ("Two words.", "This has four words.")]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    stage = {"kind": f"{FILE}:MyStage", "data": "rows.jsonl", "most_words": most_words}
    (folder / "recipe.yaml").write_text(json.dumps({"stages": {"short": stage}}))
    command = [sys.executable, "-m", "pipeline.commands.cli", "run", "recipe.yaml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_short_rows_are_kept(tmp_path: Path) -> None:
    done = run(tmp_path, most_words=2)
    assert done.returncode == 0, done.stdout + done.stderr
    [file] = tmp_path.glob("runs/artifacts/short-*/data.jsonl")
    assert [json.loads(line)["completion"] for line in file.read_text().splitlines()] == ["Two words."]


def test_nothing_short_is_told_in_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, most_words=1)
    assert done.returncode == 1
    assert "none of 2 completions has at most 1 words" in done.stdout + done.stderr
