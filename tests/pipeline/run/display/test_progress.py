import math
import time

import pytest

from pipeline.run.display import figures
from pipeline.run.display.figures import Pace, amount, duration, rate, share, time_left
from pipeline.run.display.progress import PlainDisplay


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0s"), (9.94, "9.9s"), (9.96, "10s"), (59.6, "1m 00s"),
                                               (245, "4m 05s"),
                                               (3599.7, "1h 00m"), (7620, "2h 07m")])
def test_durations_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_time_left_is_told_only_where_it_is_known() -> None:
    assert time_left(0, 10, 5) == ""
    assert time_left(10, 10, 5) == ""
    assert time_left(1, 10, 0.5) == ""
    assert time_left(5, 10, 60) == "about 1m 00s left"


def test_figures_are_short() -> None:
    metrics = {
        "reward": 0.7123, "loss": 0.00042, "tokens": 120_000, "done": True, "parts": {"a": 1}, "many": [1],
        "why": "x" * 50
    }
    assert figures.key_figures(metrics) == "reward 0.71  loss 0.00042  tokens 120,000  done True"


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


def test_what_a_stage_says_is_one_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    shown = PlainDisplay(["base"])
    shown.note("base", "so far so good\nbase  done in 1s  accuracy 1.00")
    shown.failed("base", "bad\r\nrun is done")
    assert capsys.readouterr().out.splitlines() == [
        "base  so far so good base  done in 1s  accuracy 1.00", "base  failed: bad run is done",
    ]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_shown_all_the_same(number: float) -> None:
    assert amount(number) == str(number)
    assert duration(number) == "?"
    assert time_left(1, number, 60) == time_left(number, 10, 60) == ""
    assert share(1, number) == share(number, 10) == 0.0


def test_shares_lie_between_nothing_and_all() -> None:
    assert [share(done, 4) for done in (-1, 0, 1, 4, 9)] == [0.0, 0.0, 0.25, 1.0, 1.0]
    assert share(1, 0) == share(1, -1) == 0.0


@pytest.mark.parametrize(("made", "seconds", "text"), [
    (0, 10, ""), (5, 0.5, ""), (math.nan, 10, ""), (math.inf, 10, ""), (34, 10, "3.4/s"), (1_234_567, 10, "123,457/s"),
    (1, 5, "12/min"), (1, 60, "1.0/min"), (120, 10, "12/s"),
])
def test_a_rate_is_told_by_the_second_or_the_minute(made: float, seconds: float, text: str) -> None:
    assert rate(made, seconds) == text


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(time, "monotonic", found)
    return found


def test_the_pace_is_that_of_this_attempt(clock: Clock) -> None:
    """A stage that goes on says at once that it is half done."""
    pace = Pace()
    clock.now += 20  # its libraries are loaded
    pace.at_work()
    clock.now += 3  # its checkpoint is read
    pace.told(50, 100)
    assert (pace.line, pace.elapsed) == ("", 3)
    clock.now += 10
    pace.told(60, 100)
    assert pace.line == "1.0/s  about 40s left"
    clock.now += 10  # nothing is said, and the rate goes down
    assert pace.line == "30/min  about 1m 20s left"
    pace.told(2, 10)  # another part of it begins
    assert pace.line == ""


def test_plain_lines_come_every_half_minute_with_the_rate(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    display = PlainDisplay(["base"])
    display.started("base", "pretrain")
    for done in range(121):
        display.progress("base", done, 240, {})
        clock.now += 1
    assert capsys.readouterr().out.splitlines() == [
        "base  starts (pretrain)", "base  30/240  1.0/s  about 3m 30s left", "base  60/240  1.0/s  about 3m 00s left",
        "base  90/240  1.0/s  about 2m 30s left", "base  120/240  1.0/s  about 2m 00s left"]
