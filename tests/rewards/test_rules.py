"""Rules that shape, and which language a text is in."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import rules
from rewards.languages import language_of, words_by_language
from rewards.registry import RegistryError
from rewards.rules import RULES, readable
from rewards.types import Completion, Problem

ENGLISH = Problem("1", "Tom has 3 apples. He buys 4 more and gives away 2. How many are left?", "5", "math", "words")
PROGRAM = Problem("2", "f(x): add 3, then double", {"entry": "f", "tests": []}, "code", "programs")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<think>a</think><answer>5</answer>", 1.0),
        ("<think>a</think>\n<answer>5</answer>\n", 1.0),
        ("a</think><answer>5</answer>", 0.0),
        ("<think></think><answer>5</answer>", 0.0),
        ("<think>a</think><answer> </answer>", 0.0),
        ("<think>a</think>5", 0.0),
        ("<think>a</think><answer>5</answer> so", 0.0),
        ("so <think>a</think><answer>5</answer>", 0.0),
        ("<think>a</think> so <answer>5</answer>", 0.0),
        ("<think>a<think>b</think><answer>5</answer>", 0.0),
        ("<think>a</think><answer>5</answer><answer>5</answer>", 0.0),
        ("<think>a<answer>4</answer></think><answer>5</answer>", 0.0),
        ("<answer>5</answer>", 0.0),
        ("", 0.0),
    ],
)
def test_format(text: str, value: float) -> None:
    assert rules.format(ENGLISH, Completion(text)) == value


def test_format_knows_who_opened_the_thinking() -> None:
    without, with_tag = "a</think><answer>5</answer>", "<think>a</think><answer>5</answer>"
    assert rules.format(ENGLISH, Completion(without, in_thinking=True)) == 1.0
    assert rules.format(ENGLISH, Completion(with_tag, in_thinking=True)) == 0.0
    assert rules.format(ENGLISH, Completion(without)) == 0.0
    assert rules.format(ENGLISH, Completion(with_tag)) == 1.0


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Tom has 3 apples. How many are left?", "en"),
        ("Tom hat 3 Äpfel und kauft 4. Wie viele hat er jetzt?", "de"),
        ("Tom a 3 pommes et il en achète 4. Combien lui reste-t-il ?", "fr"),
        ("Tom tiene 3 manzanas y compra 4. ¿Cuántas tiene ahora?", "es"),
        ("Tom ha 3 mele e ne compra 4. Quante ne rimangono?", "it"),
        ("Tom tem 3 maçãs e não compra mais. Quantas maçãs ele tem agora?", "pt"),
        ("철수는 사과가 3개 있다. 몇 개가 남았는가?", "ko"),
        ("太郎はりんごを3個持っています。全部で何個ですか？", "ja"),
        ("小明有3个苹果，又买了4个。他现在有几个？", "zh"),
        ("У Тома 3 яблока. Сколько осталось?", "ru"),
        ("f(x): add 3, then double", "en"),
        ("12 + 30 = ?", "en"),
        ("", "en"),
    ],
)
def test_language_of(text: str, language: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<think>Tom has 3 apples . 3 + 4 = 7 . then 7 - 2 = 5 .</think><answer>5</answer>", 1.0),
        ("<think>3 + 4 = 7 . dann 7 - 2 = 5 .</think><answer>5</answer>", 0.0),
        ("<think>first 3 + 4 macht 7 . then 7 - 2 is 5 .</think><answer>5</answer>", 0.75),
        ("<think>먼저 3 + 4 = 7 . then 7 - 2 = 5</think><answer>5</answer>", 0.5),
        ("<think>先 3 + 4 = 7 . then 7 - 2 = 5</think><answer>5</answer>", 0.5),
        ("<think>Nous avons 3 pommes et il reste 5 pommes.</think><answer>5</answer>", 0.0),
        ("<think>3 + 4 = 7 and $x \\in \\mathbb{R}$, `und` ```dann```</think><answer>\\boxed{5}</answer>", 1.0),
        ("<think>They went to Los Angeles and to Las Vegas with El Greco.</think><answer>5</answer>", 1.0),
        ("<think>3 + 4</think><answer>7</answer>", 1.0),
        ("", 1.0),
    ],
)
def test_language(text: str, value: float) -> None:
    completion = Completion(text)
    assert rules.language(ENGLISH, completion) == pytest.approx(value, abs=0.01)
    assert readable(ENGLISH, completion) is (value == 1.0)


@pytest.mark.parametrize("word", ["dann", "zuerst", "das", "macht", "ergibt", "jetzt", "und", "danach", "bleibt",
                                  "donc", "ensuite", "maintenant", "alors", "entonces", "luego", "ahora", "primero",
                                  "quindi", "allora", "poi", "então", "agora", "depois", "dus", "sedan",
                                  "więc"])  # fmt: skip
def test_one_connective_of_another_language_is_noticed(word: str) -> None:
    trace = f"Tom has 3 apples and buys 4 more . 3 + 4 = 7 . {word} 7 - 2 = 5 . so 5 are left ."
    assert not readable(ENGLISH, Completion(f"<think>{trace}</think><answer>5</answer>"))
    within = trace.replace(" . so", "").replace("are left", "is")
    assert not readable(ENGLISH, Completion(f"<think>{within}</think><answer>5</answer>"))


def test_another_target() -> None:
    german = Problem("3", "Tom hat 3 Äpfel und kauft 4. Wie viele hat er jetzt?", "7", "math", "")
    assert readable(german, Completion("<think>Zuerst hat Tom 3 Äpfel, dann 7.</think><answer>7</answer>"))
    assert not readable(german, Completion("<think>First he has 3, then 7.</think><answer>7</answer>"))
    korean = Problem("4", "철수는 사과가 3개 있다. 몇 개인가?", "3", "math", "")
    assert readable(korean, Completion("<think>먼저 x = 3 이다. sin x 는 양수다.</think><answer>3</answer>"))
    assert not readable(korean, Completion("<think>먼저 then x = 3 이다.</think><answer>3</answer>"))


def test_of_a_program_only_the_thinking_is_read() -> None:
    answer = "<answer>\ndef f(x):\n    und = x + 3\n    return und * 2\n</answer>"
    assert readable(PROGRAM, Completion(f"<think>first add 3, then double</think>{answer}"))
    assert not readable(PROGRAM, Completion(f"<think>zuerst add 3, then double</think>{answer}"))


@given(st.text(max_size=300))
def test_a_share_is_a_share(text: str) -> None:
    assert 0.0 <= rules.language(ENGLISH, Completion(text)) <= 1.0
    assert -1.0 <= rules.repetition(ENGLISH, Completion(text)) <= 0.0
    assert sum(words_by_language(text, "en").values()) >= 0


@pytest.mark.parametrize(
    "piece", [" \t", "\n", "a", "AB", "a_", "a(", "1a", "<think>", "</think>", "</think><answer>", "`", "$", "http://"]
)
def test_no_text_holds_a_rule_up(piece: str) -> None:
    """Each of these, at 100,000 characters, takes minutes where a pattern looks at every pair of places."""
    completion = Completion(piece * (100_000 // len(piece)) + "x")
    assert rules.format(ENGLISH, completion) == 0.0
    rules.language(ENGLISH, completion)
    rules.repetition(ENGLISH, completion)


def test_repetition() -> None:
    assert rules.repetition(ENGLISH, Completion("one two three four five six")) == 0.0
    assert rules.repetition(ENGLISH, Completion("wait no " * 100)) < -0.9
    assert rules.repetition(ENGLISH, Completion("")) == 0.0


def test_what_a_tool_wrote_is_not_the_models_text() -> None:
    told = "on y va et la vie est belle " * 4
    completion = Completion(f"I look. {told}So it is the one.", observations=((8, 8 + len(told)),))
    problem = Problem("p", "What is it that the others have?", "1", "math", "f")
    assert rules.language(problem, completion) == 1.0
    assert rules.repetition(problem, completion) == 0.0


@pytest.mark.parametrize(("tokens", "value"), [(5, 0.5), (10, 1.0), (100, 1.0), (150, 0.5), (200, 0.0), (999, 0.0)])
def test_length(tokens: int, value: float) -> None:
    assert rules.length(ENGLISH, Completion("x", tokens=tokens), least=10, most=100) == value


@pytest.mark.parametrize(("tokens", "value"), [(1, 0.0), (80, 0.0), (90, -0.5), (100, -1.0), (500, -1.0)])
def test_overlong(tokens: int, value: float) -> None:
    assert rules.overlong(ENGLISH, Completion("x", tokens=tokens), most=100, buffer=20) == value


@pytest.mark.parametrize(("thinking", "value"), [(0, 0.0), (24, 0.0), (30, -0.25), (36, -0.5), (48, -1.0), (999, -1.0)])
def test_effort(thinking: int, value: float) -> None:
    asked = replace(ENGLISH, meta={"effort": "low", "thinking_budget": 24})
    assert rules.effort(asked, Completion("x", thinking=thinking)) == value
    assert rules.effort(ENGLISH, Completion("x", thinking=thinking)) == 0.0, "asked with no effort"


@pytest.mark.parametrize(("thinking", "value"), [(0, -1.0), (18, -0.25), (24, 0.0), (30, -0.25), (999, -1.0)])
def test_effort_that_is_to_be_used(thinking: int, value: float) -> None:
    asked = replace(ENGLISH, meta={"effort": "high", "thinking_budget": 24})
    assert rules.effort(asked, Completion("x", thinking=thinking), exact=True) == value
    assert rules.effort(ENGLISH, Completion("x", thinking=thinking), exact=True) == 0.0, "asked with no effort"


def test_effort_counts_words_where_nobody_has_counted_tokens() -> None:
    asked = replace(ENGLISH, meta={"thinking_budget": 2})
    assert rules.effort(asked, Completion("<think>So 3.</think>3 and more words that are no thinking")) == -0.5


def test_every_built_in_has_a_first_line() -> None:
    assert [entry.name for entry in RULES.entries() if not entry.summary] == []


def test_a_rule_of_another_shape_is_refused() -> None:
    with pytest.raises(RegistryError, match="put a \\* before its options"):

        @rules.rule
        def loose(problem: Problem, completion: Completion, most: int = 3) -> float:
            return float(problem is completion) + most

    @rules.rule
    def tidy_rule_for_this_test(problem: Problem, completion: Completion, *, most: int = 3) -> float:
        """Tidy."""
        return float(problem is completion) + most

    assert RULES.resolve("tidy_rule_for_this_test").options == {"most": 3}
