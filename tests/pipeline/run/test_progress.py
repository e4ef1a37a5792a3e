import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.run import progress
from pipeline.run.live import LiveDisplay
from pipeline.run.progress import PlainDisplay


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0s"), (9.94, "9.9s"), (9.96, "10s"), (59.6, "1m 00s"),
                                               (245, "4m 05s"),
                                               (3599.7, "1h 00m"), (7620, "2h 07m")])
def test_durations_read_at_a_glance(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text


def test_time_left_is_told_only_where_it_is_known() -> None:
    assert progress.time_left(0, 10, 5) == ""
    assert progress.time_left(10, 10, 5) == ""
    assert progress.time_left(1, 10, 0.5) == ""
    assert progress.time_left(5, 10, 60) == "about 1m 00s left"


def test_figures_are_short() -> None:
    metrics = {
        "reward": 0.7123, "loss": 0.00042, "tokens": 120_000, "done": True, "parts": {"a": 1}, "many": [1],
        "why": "x" * 50
    }
    assert progress.key_figures(metrics) == "reward 0.71  loss 0.00042  tokens 120,000  done True"


def test_plain_lines_come_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    shown = PlainDisplay(["base", "student"], every=0.0)
    rare = PlainDisplay(["base", "student"], every=60.0)
    for display in (shown, rare):
        display.started("base", "pretrain")
        display.at_work("base")
        for i in range(3):
            display.progress("base", i, 3, {"reward": 0.5})
        display.finished("base", 4.0, {"accuracy": 0.25})
        display.close()
    assert capsys.readouterr().out.splitlines() == [
        "base     starts (pretrain)", "base     0/3  reward 0.50", "base     1/3  reward 0.50",
        "base     2/3  reward 0.50", "base     done in 4.0s  accuracy 0.25", "base     starts (pretrain)",
        "base     done in 4.0s  accuracy 0.25"]


@given(
    width=st.integers(1, 120), name=st.text("abc", min_size=1, max_size=30), done=st.floats(0, 1e6),
    total=st.floats(0, 1e6)
)
def test_the_live_display_never_wraps(width: int, name: str, done: float, total: float) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=20)
    display = LiveDisplay([name, "other"], console)
    display.started(name, "pretrain")
    display.progress(name, done, total, {"reward": 0.71, "accuracy": 0.62})
    picture = display._picture()
    assert all(len(line) < max(width, 2) for line in picture.plain.split("\n"))
    display.close()


def test_finished_stages_scroll_by_above_the_running_ones() -> None:
    output = io.StringIO()
    display = LiveDisplay(
        ["base", "zero"], Console(file=output, force_terminal=True, width=80, height=20, color_system=None)
    )
    display.started("base", "pretrain")
    display.progress("base", 1, 4, {"loss": 2.5})
    display.refresh()
    display.finished("base", 38.2, {"loss": 1.25})
    display.reused("zero", "zero-0123456789")
    display.say("runs/x is done")
    display.close()
    text = output.getvalue()
    assert "base  ━" in text
    assert "1/4  loss 2.50" in text
    assert "base  done in 38s" in text
    assert "zero  reused zero-0123456789" in text
