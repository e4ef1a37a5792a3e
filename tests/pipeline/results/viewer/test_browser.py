"""The viewer in a browser: over the server of `retort look`, and inside a page of its own."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any  # playwright is an extra, and may not be installed

import pytest

from pipeline.results.viewer.embedded import embedded
from pipeline.store.run_folder import RunFolder
from tests.pipeline.results.viewer import kept
from tests.pipeline.results.viewer.pages import browser, file_with, opened

__all__ = ["browser", "opened"]  # fixtures
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

Open = Callable[..., Any]
HOSTILE = [
    "<script>window.ran = 1</script>",
    "</script><img src=x onerror=\"window.ran = 1\">",
    "</textarea></style><svg onload='window.ran = 1'><iframe srcdoc='<script>top.ran = 1</script>'>",
    "\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m \u202eright to left\u202c \u200bnothing \x00",
    "{{ 7 * 7 }} ${window.ran = 1} javascript:window.ran=1",
]


@pytest.fixture(scope="module")
def apples(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return kept.apples(tmp_path_factory.mktemp("apples"))


@pytest.fixture(scope="module")
def address(apples: RunFolder) -> Iterator[str]:
    with kept.serving(apples) as server:
        yield server.address


def listed(page: Any) -> int:
    return int(re.split(r"\D+", page.text_content(".rv-count").replace(",", ""))[0])


def when(page: Any) -> str:
    """Step and rollout of what is read."""
    return " ".join(re.findall(r"step \d+|rollout \d+", page.text_content(".rv-title p")))


def wait_for(page: Any, condition: str) -> None:
    page.wait_for_function(f"() => {condition}", timeout=10_000)


def test_a_page_opens_from_a_file_and_needs_nothing_else(opened: Open, apples: RunFolder, tmp_path: Path) -> None:
    page = opened(file_with(tmp_path, embedded(apples, 10**6)))
    assert listed(page) == 585
    assert page.text_content(".rv-title h2") == "word_problems-train-0000"
    assert page.text_content(".rv-foot span") == ""


def test_a_page_tells_what_did_not_fit(opened: Open, apples: RunFolder, tmp_path: Path) -> None:
    page = opened(file_with(tmp_path, embedded(apples, 30_000)))
    shown = listed(page)
    assert 0 < shown < 585
    assert page.text_content(".rv-foot span").startswith(f"{585 - shown} more did not fit")


def test_filters_choose_and_orders_sort(opened: Open, address: str) -> None:
    page = opened(address)
    page.get_by_label("Stage").select_option("score")
    assert listed(page) == 8
    page.get_by_label("Model").select_option("zero")
    assert listed(page) == 4
    page.get_by_role("button", name="Clear").click()
    assert listed(page) == 585
    page.get_by_label("Problem", exact=True).fill("train-0003 word_pr")
    wait_for(page, "document.querySelector('.rv-count').textContent.startsWith('96 of')")
    page.get_by_label("Step, least").fill("3")
    page.get_by_label("Step, most").fill("4")
    wait_for(page, "document.querySelector('.rv-count').textContent.startsWith('16 of')")
    before = listed(page)
    page.locator(".rv-filters .rv-chip", has_text="correct").click()
    right = listed(page)
    page.locator(".rv-filters .rv-chip", has_text="wrong").click()
    assert 0 < right < listed(page) <= before
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Reward, least").fill("1")
    wait_for(page, "!document.querySelector('.rv-count').textContent.startsWith('585')")
    page.get_by_role("button", name=re.compile("Sort by Reward")).click()
    rewards = [float(text) for text in page.locator(".rv-row:visible .rv-c-reward").all_text_contents()[:9]]
    assert all(reward >= 1 for reward in rewards)
    page.get_by_label("Reward, least").fill("9")
    wait_for(page, "document.querySelector('.rv-count').textContent.startsWith('0 of')")


def test_keys_go_through_the_list_along_the_problem_and_through_colours(opened: Open, address: str) -> None:
    page = opened(address)
    assert when(page) == "step 1 rollout 0"

    def press(key: str, then: str) -> None:
        page.keyboard.press(key)
        step, number = re.findall(r"\d+", then)
        wait_for(page, f"/step {step} · rollout {number} /.test(document.querySelector('.rv-title p').textContent)")

    press("j", "step 1 rollout 1")
    press("ArrowDown", "step 1 rollout 2")
    press("k", "step 1 rollout 1")
    press("n", "step 2 rollout 1")
    press("n", "step 3 rollout 1")
    press("p", "step 2 rollout 1")
    press("v", "step 12 rollout 1")
    sides = page.locator(".rv-which").all_text_contents()
    assert sides == ["pinned zero · step 2, rollout 1", "this zero · step 12, rollout 1"]
    page.keyboard.press("v")
    assert page.locator(".rv-which").count() == 0
    for name in ("Log-probability", "Divergence", "Expert", "Plain"):
        page.keyboard.press("c")
        assert page.text_content(".rv-choice [aria-pressed='true']") == name
    page.keyboard.press("f")
    assert page.evaluate("document.activeElement.type") == "search"
    page.keyboard.press("j")  # a letter in a field is a letter
    assert page.input_value("input[type=search]") == "j"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.locator("dialog[open]").count() == 1
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0


def test_whoever_loads_the_page_again_goes_on_where_they_were_with_what_is_new(opened: Open, tmp_path: Path) -> None:
    run = kept.empty_run(tmp_path, "zero")
    kept.grpo(tmp_path, run, {2: [kept.rollout(2, 0, number) for number in range(4)]})
    with kept.serving(run) as server:
        page = opened(server.address)
        page.keyboard.press("j")
        wait_for(page, "/rollout 1 /.test(document.querySelector('.rv-title p').textContent)")
        for step in (1, 3):
            kept.write_step(tmp_path, "zero", step, [kept.rollout(step, 0, number) for number in range(4)])
        page.reload()
        page.wait_for_selector(".rv-title")
        assert listed(page) == 12
        assert when(page) == "step 2 rollout 1"
        assert page.get_attribute(".rv-row[aria-selected=true]", "aria-posinset") == "6"


def test_the_value_of_a_token_is_told_by_pointer_and_by_key(opened: Open, address: str) -> None:
    page = opened(address)
    row = kept.rollout(1, 0, 0)
    page.keyboard.press("c")
    assert page.text_content(".rv-tokens") == row["text"]
    page.hover("[data-token='3']")
    told = page.text_content(".rv-measured")
    assert told.startswith(f"\"{row['pieces'][3]}\" token 4 of {len(row['pieces'])}")
    assert f"{abs(row['logprobs'][3]):.3f}" in told
    assert told.endswith(f"expert {row['experts'][3]}")
    page.focus(".rv-tokens")
    page.keyboard.press("ArrowRight")
    assert " token 5 of " in page.text_content(".rv-measured")
    assert page.get_attribute(".rv-tokens", "aria-activedescendant") == page.get_attribute("[data-token='4']", "id")


def test_why_the_grader_said_so_and_what_the_reward_is_made_of(opened: Open, address: str) -> None:
    page = opened(address)
    row = kept.rollout(1, 0, 0)
    cards = " ".join(page.locator(".rv-card").all_text_contents())
    for told in ("cut short", row["reason"], f"Expected{row['expected']}", "advantage −0.500", "overlong−0.100"):
        assert told in cards


def test_texts_of_models_are_shown_and_never_run(opened: Open, tmp_path: Path) -> None:
    run = kept.empty_run(tmp_path, "zero")
    hostile = [
        kept.rollout(1, number, 0, text=text, thinking=text, answer=text, prompt=text, reason=text, expected=text,
                     problem=text, family=text, parts={text: 1.0}, pieces=[text, text], logprobs=[-1.0, -2.0],
                     sampler_logprobs=None, experts=[1, 2])
        for number, text in enumerate(HOSTILE)
    ]
    kept.grpo(tmp_path, run, {1: hostile})
    with kept.serving(run) as server:
        for page in (opened(server.address), opened(file_with(tmp_path, embedded(run, 10**6)))):
            page.focus(".rv-list")
            for text in HOSTILE:
                written = re.sub("[\x00-\x1f\u200b\u202c\u202e]", lambda match: f"\\u{ord(match[0]):04x}", text)
                wait_for(page, f"document.querySelector('.rv-title h2').textContent === {written!r}")
                assert page.locator(".rv-pane .rv-text").all_text_contents() == [written] * 3
                page.keyboard.press("c")
                assert page.text_content(".rv-tokens") == written * 2
                page.hover("[data-token='1']")
                for _ in range(2):
                    page.keyboard.press("c")
                page.keyboard.press("j")
            assert page.evaluate("window.ran") is None
            assert page.locator("img, svg, iframe, #viewer script").count() == 0


def with_calls(*said: str) -> kept.Row:
    """A rollout whose calls were answered so; a character that JavaScript counts as two stands before the first."""
    text, observations = "<think>\U0001f34e", list[tuple[int, int]]()
    for number, one in enumerate(said):
        text += f"Step {number}.<call>lookup {number}</call>"
        observations.append((len(text), len(text) + len(one)))
        text += one
    return kept.rollout(1, 0, 0, text=f"{text}</think><answer>19</answer>", observations=observations)


def test_calls_stand_in_turns_with_what_the_tools_said(opened: Open, tmp_path: Path) -> None:
    run = kept.empty_run(tmp_path, "zero")
    kept.grpo(tmp_path, run, {1: [with_calls(*HOSTILE, "x" * 30_000), kept.rollout(1, 0, 1)]})
    told = [re.sub("[\x00-\x1f\u200b\u202c\u202e]", lambda match: f"\\u{ord(match[0]):04x}", text) for text in HOSTILE]
    with kept.serving(run) as server:
        for page in (opened(server.address), opened(file_with(tmp_path, embedded(run, 10**6)))):
            calls = page.locator(".rv-pane", has=page.get_by_role("heading", name="Calls of tools"))
            assert calls.locator(".rv-said .rv-text").all_text_contents()[:-1] == told
            written = calls.locator(".rv-turn:not(.rv-said) .rv-text").all_text_contents()
            assert written[0] == "<think>\U0001f34eStep 0.<call>lookup 0</call>"
            assert written[1:-1] == [f"Step {at}.<call>lookup {at}</call>" for at in range(1, len(HOSTILE) + 1)]
            assert written[-1] == "</think><answer>19</answer>"
            assert len(calls.locator(".rv-said .rv-text").last.text_content()) == 20_000
            assert "10,000 more characters of the observation" in calls.text_content()
            calls.get_by_role("button", name="Show all").click()
            assert len(calls.locator(".rv-said .rv-text").last.text_content()) == 30_000
            page.keyboard.press("v")  # the button is gone, and keys work all the same
            page.keyboard.press("j")
            wait_for(page, "document.querySelector('.rv-two')")
            assert page.locator(".rv-two .rv-side").first.locator(".rv-said").count() == len(HOSTILE) + 1
            assert page.evaluate("window.ran") is None
            assert page.locator("img, svg, iframe, #viewer script").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 420])
def test_calls_pass_the_rules_of_accessible_pages(opened: Open, tmp_path: Path, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: make browser")
    run = kept.empty_run(tmp_path, "zero")
    kept.grpo(tmp_path, run, {1: [with_calls("<result>7</result>", "<result>error: it divides by zero</result>")]})
    with kept.serving(run) as server:
        page = opened(server.address, color_scheme=scheme, bypass_csp=True, viewport={"width": width, "height": 900})
        found = axe.Axe().run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
        assert [one for one in page.evaluate(CONTRASTS) if one[0] < 4.5] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_megabyte_of_text_is_shown_bit_by_bit(opened: Open, tmp_path: Path) -> None:
    run = kept.empty_run(tmp_path, "zero")
    text = "x" * 2**20
    kept.grpo(tmp_path, run, {1: [kept.rollout(1, 0, 0, thinking=text, text=text, answer="\x1b" * 2**16)]})
    page = opened(file_with(tmp_path, embedded(run, 10**7)))
    thinking = page.locator(".rv-pane", has_text="Thinking")
    assert len(thinking.locator(".rv-text").text_content()) == 20_000
    thinking.get_by_role("button", name="Show 50,000 more").click()
    assert len(thinking.locator(".rv-text").text_content()) == 70_000
    thinking.get_by_role("button", name="Show all").click()
    assert len(thinking.locator(".rv-text").text_content()) == 2**20
    assert thinking.get_by_role("button").count() == 0
    assert 0 < page.locator(".rv-control").count() <= 800
    page.keyboard.press("?")  # it still answers


SCROLL = """async () => {
  const list = document.querySelector(".rv-list");
  const frames = [];
  let last = performance.now();
  for (let top = 0; top < list.scrollHeight; top += Math.max(400, list.scrollHeight / 400)) {
    list.scrollTop = top;
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    frames.push(now - last);
    last = now;
  }
  frames.sort((a, b) => a - b);
  return { longest: frames.at(-1), middle: frames[frames.length >> 1], frames: frames.length,
    rows: document.querySelectorAll(".rv-row").length, elements: document.querySelectorAll("*").length };
}"""


def test_ten_thousand_rollouts_are_a_list_of_few_elements(
    opened: Open, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    run = kept.empty_run(tmp_path, "zero")
    for step in range(1, 26):
        kept.write_step(tmp_path, "zero", step, [
            {"step": step, "problem": f"p{number % 50:03d}", "rollout": number // 50, "text": "<answer>1</answer>",
             "verdict": "wrong", "reward": number / 400, "tokens": number} for number in range(400)
        ])
    run.link(1, "zero", kept.artifact(tmp_path, "zero", "grpo", "model"))
    page = opened(file_with(tmp_path, embedded(run, 10**7)))
    assert listed(page) == 10_000
    found = page.evaluate(SCROLL)
    record_property("scrolled", found)
    assert found["frames"] > 300
    assert found["rows"] < 60
    assert found["elements"] < 1500
    page.evaluate("document.querySelector('.rv-list').scrollTop = 1e9")
    wait_for(page, "[...document.querySelectorAll('.rv-row')].some((row) => row.textContent.includes('step 25'))")
    page.focus(".rv-list")
    page.keyboard.press("End")
    wait_for(page, "/step 25 · rollout 7 /.test(document.querySelector('.rv-title p').textContent)")


CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const painted = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => {
    const linear = (one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = rgb.map((one) => linear(one / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const isField = element.matches("input, select");
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!(hasText || isField) || element.matches("script, style, option") || !element.checkVisibility()) continue;
    const behind = [];
    for (let at = element; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
    behind.unshift("Canvas");
    const inks = [getComputedStyle(element).color];
    if (isField) inks.push(getComputedStyle(element, "::placeholder").color);
    for (const ink of inks) {
      const [back, text] = [light(painted(behind)), light(painted([...behind, ink]))];
      const ratio = (Math.max(back, text) + 0.05) / (Math.min(back, text) + 0.05);
      found.push([ratio, element.className, element.textContent.slice(0, 30)]);
    }
  }
  return found;
}"""


SHADES = [*(f"rv-lp{n}" for n in range(6)), *(f"rv-dv{n}" for n in range(7)), *(f"rv-ex rv-ex{n}" for n in range(16))]


def all_looks(page: Any) -> Iterator[str]:
    """Every look that the viewer has, one after the other."""
    yield "plain"
    for _ in range(3):
        page.keyboard.press("c")
        page.hover("[data-token='3']")
        # Every colour there is, on tokens that are there.
        page.evaluate("""(shades) => [...document.querySelectorAll(".rv-token")].forEach((token, at) => {
          token.className = `rv-token ${shades[at % shades.length]}`;
        })""", SHADES)
        yield page.text_content(".rv-choice [aria-pressed='true']")
    page.keyboard.press("c")
    page.keyboard.press("v")
    wait_for(page, "document.querySelector('.rv-two')")
    yield "compared"
    page.keyboard.press("?")
    yield "help"
    page.keyboard.press("Escape")
    for chip in page.locator(".rv-filters .rv-chip").all():
        chip.click()
    page.get_by_label("Stage").select_option("score")
    wait_for(page, "document.querySelector('.rv-title h2').textContent.startsWith('test-')")
    yield "score"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(opened: Open, address: str, scheme: str) -> None:
    page = opened(address, color_scheme=scheme)
    for look in all_looks(page):
        found = page.evaluate(CONTRASTS)
        assert len(found) > 50
        assert [one for one in found if one[0] < 4.5] == [], look


def test_every_control_is_reached_and_named(opened: Open, address: str) -> None:
    page = opened(address)
    controls = page.evaluate("""() => [...document.querySelectorAll("button, input, select, summary, [tabindex='0']")]
        .filter((one) => one.checkVisibility() && !one.disabled && one.tabIndex >= 0)
        .map((one, at) => { one.dataset.number = at; return at; })""")
    assert len(controls) > 30
    reached = []
    page.evaluate("document.activeElement.blur()")
    for _ in range(len(controls) + 5):
        page.keyboard.press("Tab")
        number = page.evaluate("document.activeElement.dataset.number")
        if number is not None:
            reached.append(int(number))
    assert sorted(set(reached)) == controls
    # One of those that arrows go through is a stop, so that one comes to them.
    for one in (".rv-list", ".rv-moment[aria-current]", ".rv-reading", ".rv-group button"):
        assert int(page.locator(one).first.get_attribute("data-number")) in reached
    outlines = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outlines != "none"
    unnamed = page.evaluate("""() =>
        [...document.querySelectorAll("button, input, select, [role=listbox], [role=region], [role=group]")]
        .filter((one) => !(one.getAttribute("aria-label") || one.textContent.trim() || one.labels?.length))
        .map((one) => one.outerHTML)""")
    assert unnamed == []
    # What is left out of the order of tabs is reached by arrows.
    page.focus(".rv-moment[aria-current]")
    page.keyboard.press("ArrowRight")
    wait_for(page, "/step 2 /.test(document.querySelector('.rv-title p').textContent)")
    assert page.evaluate("document.activeElement.getAttribute('aria-current')") == "step"
