"""The live display, on a terminal that is emulated as far as it is drawn on."""

import io
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.run.display.live import LiveDisplay

_PARTS = re.compile(r"\x1b(?:\[([?0-9;]*))?([A-Za-z78])|(.)", re.DOTALL)


class Terminal(io.StringIO):
    """Rows of text and a cursor. A line that is too long is broken into rows, also when the width changes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.rows, self.broken = [""], [False]  # whether a row goes on in the next one
        self.row = self.column = 0
        self.saved = 0, 0

    def write(self, text: str) -> int:
        for numbers, command, character in _PARTS.findall(text):
            if command == "A":
                self.row = max(self.row - int(numbers), 0)
            elif command in "JK" and command:
                assert numbers == "", "from the cursor to the end of the row, or of the screen"
                self.rows[self.row], self.broken[self.row] = self.rows[self.row][: self.column], False
                if command == "J":
                    del self.rows[self.row + 1 :], self.broken[self.row + 1 :]
            elif command == "B":
                self.row = min(self.row + 1, len(self.rows) - 1)
            elif command == "7":
                self.saved = self.row, self.column
            elif command == "8":
                self.row, self.column = self.saved
            elif command:
                assert command in "mhl", f"the terminal does not know {command}"
            else:
                self.put(character)
        return len(text)

    def put(self, character: str) -> None:
        assert character.isprintable() or character in "\r\n", f"{character!r} reached the terminal"
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.down()
        else:
            if self.column >= self.width:
                self.broken[self.row] = True
                self.down()
            row = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = row[: self.column] + character + row[self.column + 1 :]
            self.column += 1

    def down(self) -> None:
        self.row, self.column = self.row + 1, 0
        if self.row == len(self.rows):
            self.rows.append("")
            self.broken.append(False)

    def resize(self, width: int) -> None:
        lines: list[str] = [""]
        where = (0, 0)
        for number, row in enumerate(self.rows):
            if number == self.row:
                where = (len(lines) - 1, len(lines[-1]) + self.column)
            lines[-1] += row
            if not self.broken[number]:
                lines.append("")
        self.width, self.rows, self.broken = width, [], []
        for number, line in enumerate(lines[:-1]):
            parts = [line[place : place + width] for place in range(0, max(len(line), 1), width)]
            if number == where[0]:
                inside = min(where[1] // width, len(parts) - 1)
                self.row, self.column = len(self.rows) + inside, where[1] - inside * width
            self.rows += parts
            self.broken += [True] * (len(parts) - 1) + [False]

    @property
    def shown(self) -> list[str]:
        return [row.rstrip() for row in self.rows if row.strip()]


def display_on(terminal: Terminal, names: list[str], height: int = 20) -> tuple[LiveDisplay, Console]:
    console = Console(file=terminal, force_terminal=True, width=terminal.width, height=height)
    return LiveDisplay(names, console), console


def refresh(display: LiveDisplay) -> None:
    display._drawn_at = 0.0  # as if a quarter of a second had passed
    display.refresh()


@given(
    width=st.integers(1, 120), name=st.text("abc", min_size=1, max_size=30), done=st.floats(0, 1e6),
    total=st.floats(0, 1e6)
)
def test_the_live_display_never_wraps(width: int, name: str, done: float, total: float) -> None:
    display, _ = display_on(Terminal(width), [name, "other"])
    display.started(name, "pretrain")
    display.progress(name, done, total, {"reward": 0.71, "accuracy": 0.62})
    assert all(line.cell_len < max(width, 2) for line in display._picture())
    display.close()


def test_finished_stages_scroll_by_above_the_running_ones() -> None:
    terminal = Terminal(80)
    display, _ = display_on(terminal, ["base", "zero"])
    display.started("base", "pretrain")
    display.progress("base", 1, 4, {"loss": 2.5})
    refresh(display)
    running, foot = terminal.shown
    assert running.startswith("base  ━")
    assert "1/4  loss 2.50" in running
    assert foot.endswith("so far, 1 stages to go")
    display.finished("base", 38.2, {"loss": 1.25})
    display.reused("zero", "zero-0123456789")
    display.say("runs/x is done")
    display.close()
    assert terminal.shown == ["base  done in 38s       loss 1.25", "zero  reused zero-0123456789", "runs/x is done"]


@given(widths=st.lists(st.integers(12, 120), min_size=1, max_size=6), said=st.booleans())
def test_a_terminal_that_changes_its_width_keeps_no_torn_line(widths: list[int], said: bool) -> None:
    terminal = Terminal(120)
    names = ["base", "zero", "student_base"]
    display, console = display_on(terminal, names)
    for name in names:
        display.started(name, "pretrain")
        display.progress(name, 300, 4000, {"reward": 0.71, "accuracy": 0.62, "loss": 1.5})
    refresh(display)
    for width in widths:
        terminal.resize(width)
        console.width = width
        if said:
            display.say("seen")
        refresh(display)
        running = [row for row in terminal.shown if row != "seen"]
        assert [row.split()[0][:8] for row in running[:3]] == ["base", "zero", "student_"]
        assert len(running) == len(names) + 1
        assert all(len(row) < width for row in running)
    display.close()
    assert set(terminal.shown) <= {"seen"}


def test_more_stages_than_rows_do_not_scroll_out_of_reach() -> None:
    names = [f"stage{number}" for number in range(30)]
    display, _ = display_on(Terminal(80), names, height=10)
    for name in names:
        display.started(name, "sft")
    assert len(list(display._picture())) == 9


@pytest.mark.parametrize("text", ["\x1b[2J\x1b]52;c;eA==\x07", "\x9b31m", "\u202egnp.exe", "a\rb", "a\nb", "\ud800"])
def test_nothing_that_a_stage_says_moves_the_cursor(text: str) -> None:
    terminal = Terminal(400)  # which fails on what it is not to be sent
    display, _ = display_on(terminal, ["base", text])
    display.started(text, text)
    refresh(display)
    display.progress(text, 1, 2, {"loss": 1.0, text: text})
    refresh(display)
    display.note("base", text)
    display.failed("base", text)
    display.finished(text, 1.0, {text: text})
    display.reused("base", text)
    display.say(text.replace("\n", " "))
    display.close()
    assert len(terminal.shown) == 5


def test_a_running_stage_shows_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    display, _ = display_on(Terminal(80), ["base"])
    display.started("base", "pretrain")
    assert [line.plain for line in display._picture()] == ["base  pretrain, starting  0.0s", "0.0s so far"]
    for done in (10, 40):
        display.progress("base", done, 100, {"loss": 2.5})
        now[0] += 10
    [line, _] = [line.plain for line in display._picture()]
    assert line == "base  ━━━━━━━━━━━━━━━━━━━━  40/100  loss 2.50  1.5/s  about 40s left"


def test_lines_of_logs_scroll_by() -> None:
    terminal = Terminal(40)
    display, _ = display_on(terminal, ["base"])
    display.started("base", "pretrain")
    display.log("base", "UserWarning: \x1b[2J is old")
    display.close()
    assert terminal.shown == ["base  UserWarning: \\u001b[2J is old"]
