"""Rollouts kept to be looked at: bounded, in the place of an earlier attempt's, and equal bytes for equal rows."""

import gzip
import itertools
import json
import random
from pathlib import Path

from pipeline.store.kept_rollouts import KeptRollouts


def rows(step: int, size: int = 4) -> list[dict[str, object]]:
    # Random digits, so that compression leaves their number to tell.
    digits = random.Random(step)
    return [{"step": step, "rollout": i, "text": str(digits.getrandbits(2000))} for i in range(size)]


def test_rows_come_back_and_are_written_over_by_the_same_step(tmp_path: Path) -> None:
    kept = KeptRollouts(tmp_path / "rollouts")
    assert kept.files() == {}
    assert kept.write(1, [{"text": "é\u2028</script>\ud800"}])
    first = kept.files()[1].read_bytes()
    assert json.loads(gzip.decompress(first).decode("utf-8", "surrogatepass")) == {"text": "é\u2028</script>\ud800"}
    assert kept.write(1, rows(1))
    assert kept.write(1, [{"text": "é\u2028</script>\ud800"}])
    assert kept.files()[1].read_bytes() == first
    assert [file.name for file in kept.folder.iterdir()] == ["step-000001.jsonl.gz"]


def test_what_is_kept_is_bounded_and_even_over_the_steps(tmp_path: Path) -> None:
    kept = KeptRollouts(tmp_path, most_bytes=20_000)
    for step in range(1, 201):
        kept.write(step, rows(step))
    steps = list(kept.files())
    assert sum(file.stat().st_size for file in kept.files().values()) <= 20_000
    assert steps[0] == 1
    assert len(steps) > 3
    assert len({later - earlier for earlier, later in itertools.pairwise(steps)}) == 1
    assert 200 - steps[-1] < steps[1] - steps[0]


def test_a_training_that_goes_on_keeps_the_same(tmp_path: Path) -> None:
    for name, ways in {"whole": [range(1, 101)], "cut": [range(1, 73), range(41, 101)]}.items():
        kept = KeptRollouts(tmp_path / name, most_bytes=1_000_000)
        for way in ways:
            for step in way:
                kept.write(step, rows(step))
    whole, cut = ({step: file.read_bytes() for step, file in KeptRollouts(tmp_path / name).files().items()}
                  for name in ("whole", "cut"))
    assert whole == cut
