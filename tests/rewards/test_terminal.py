"""What acts on a terminal is shown and not done."""

import io
import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.terminal import EscapingStream, escaped, escaping, one_line, raw

SHOWN_AS_THEY_ARE = {
    "\t", "\n", "\u200c", "\u200d",
    # signs of scripts, which are seen, and signs of formats that no terminal knows
    *map(chr, (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, *range(0x13430, 0x13440),
               *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B))),
}


def test_every_character_that_acts_or_is_not_seen_is_escaped() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        acts = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        if acts and character not in SHOWN_AS_THEY_ARE:
            assert escaped(character).isascii(), hex(code)
            assert escaped(character).startswith("\\u"), hex(code)
        elif unicodedata.category(character) != "Cn":
            assert escaped(character) == character, hex(code)


@pytest.mark.parametrize(("text", "shown"), [
    ("\x1b]52;c;eA==\x07", "\\u001b]52;c;eA==\\u0007"),
    ("\x1b[2J\x9b31m", "\\u001b[2J\\u009b31m"),
    ("\u202egnp.exe", "\\u202egnp.exe"),
    ("\ud800 \U000e0041", "\\ud800 \\udb40\\udc41"),
    ("one\r\ntwo\tthree", "one\r\ntwo\tthree"),
    ("done\rfailed", "done\\u000dfailed"),
    ("½ ±3 学 👩‍🚀", "½ ±3 学 👩‍🚀"),
])
def test_what_is_shown_in_place(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_one_line_stays_one_line() -> None:
    assert one_line("  a \n\r\n  b\rc\x1b\n") == "  a b c\\u001b"


@given(st.text())
def test_json_means_the_same_after_it_was_escaped(text: str) -> None:
    assert json.loads(escaped(json.dumps(text, ensure_ascii=False))) == text


class Screen(io.TextIOWrapper):
    """A stream that says that it is a terminal."""

    def __init__(self, encoding: str = "utf-8", terminal: bool = True) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def written(self) -> bytes:
        self.flush()
        return self.detach().getvalue()  # type: ignore[attr-defined]


def test_what_the_encoding_lacks_is_escaped_too() -> None:
    screen = Screen("latin-1")
    print("±1 → \ud800", file=EscapingStream(screen))
    assert screen.written().decode("latin-1").strip() == "±1 \\u2192 \\ud800"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_means_the_same_in_every_encoding(encoding: str) -> None:
    text = "30 µs → \U0001f600\x7f\ud800"
    screen = Screen(encoding, terminal=False)
    print(json.dumps(text, ensure_ascii=False), file=EscapingStream(screen))
    assert json.loads(screen.written().decode(encoding)) == text


def test_rows_of_bytes_are_escaped_on_a_terminal_alone() -> None:
    row = '{"text": "\u202e\x9b31m"}\n'.encode() + b"\xff\n"
    for terminal, expected in ((False, row), (True, b'{"text": "\\u202e\\u009b31m"}\n\xef\xbf\xbd\n')):
        screen = Screen(terminal=terminal)
        stream = EscapingStream(screen)
        stream.buffer.writelines([row])
        stream.buffer.flush()
        assert screen.written() == expected


def test_standard_streams_are_escaped_inside_and_stay_so_for_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = sys.stdout, sys.stderr
    with escaping():
        print("\x1b[2J")
        print("\x07", file=sys.stderr)
        assert (raw(sys.stdout), raw(sys.stderr)) == (out, err)
    assert (sys.stdout, sys.stderr) == (out, err)
    assert capsys.readouterr() == ("\\u001b[2J\n", "\\u0007\n")
    with pytest.raises(KeyError), escaping():
        raise KeyError
    assert isinstance(sys.stderr, EscapingStream)
    sys.stdout, sys.stderr = out, err


def test_what_is_written_to_a_closed_stream_goes_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)  # as Python has it after `>&-`
    with escaping():
        print("nothing", flush=True)
        assert not sys.stdout.isatty()
    assert sys.stdout is None
