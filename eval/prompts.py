"""How a problem is put to a model: the same for training, sampling and evaluation."""

from collections.abc import Sequence

from eval.errors import PromptError
from eval.language_model import Tokenizer
from eval.protocol import Prompting, Shot, Template
from rewards.foreign import LOADING, calling
from rewards.types import Problem

# DeepSeek-R1 (arXiv 2501.12948), table 1: the template of R1-Zero, for tokenizers without a chat template.
R1_ZERO = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
    "The assistant first thinks about the reasoning process in the mind and then provides the user with the answer. "
    "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, "
    "i.e., <think> reasoning process here </think> <answer> answer here </answer>. User: {prompt}. Assistant:"
)

THINK = "<think>"

QA = "Question: {prompt}\nAnswer:"


def encode_prompts(tokenizer: Tokenizer, prompts: Sequence[str], how: Prompting) -> list[list[int]]:
    """Token ids of the prompts as `how` puts them, up to where the model goes on."""
    texts = render(tokenizer, prompts, how.template, how.shots)
    if how.open_thinking:
        texts = [text + THINK for text in texts]
    # A chat template writes the special tokens itself; the tokenizer would put a second one in front.
    ids: list[list[int]] = tokenizer(
        texts, add_special_tokens=template_of(tokenizer, how.template) != "chat"
    )["input_ids"]
    return ids


def encode_prompt(tokenizer: Tokenizer, problem: Problem, *, open_thinking: bool = False) -> list[int]:
    """Token ids of a problem's prompt, as `encode_text` puts it."""
    return encode_text(tokenizer, problem.prompt, open_thinking=open_thinking)


def encode_text(tokenizer: Tokenizer, prompt: str, *, open_thinking: bool = False) -> list[int]:
    """Token ids of one user's text, up to where the model goes on; with `open_thinking` the tag is already there."""
    return encode_texts(tokenizer, [prompt], open_thinking=open_thinking)[0]


def encode_texts(tokenizer: Tokenizer, prompts: Sequence[str], *, open_thinking: bool = False) -> list[list[int]]:
    """Token ids of many users' texts at once, which is much faster than one by one."""
    return encode_prompts(tokenizer, prompts, Prompting(open_thinking=open_thinking))


def template_of(tokenizer: Tokenizer, template: Template) -> Template:
    """What "auto" means for this tokenizer."""
    if template == "auto":
        return "r1" if tokenizer.chat_template is None else "chat"
    return template


def render(
    tokenizer: Tokenizer, prompts: Sequence[str], template: Template = "auto", shots: Sequence[Shot] = ()
) -> list[str]:
    """Prompts in the tokenizer's chat template, in R1-Zero's or as questions and answers, after worked examples."""
    template = template_of(tokenizer, template)
    if template != "chat":
        return [plain_text(prompt, template, shots) for prompt in prompts]
    # A template is a program and takes long; most put the text between two constants, which is checked here.
    before, _, after = _render_one(tokenizer, _MARK, shots).partition(_MARK)
    if prompts and _render_one(tokenizer, prompts[0], shots) == before + prompts[0] + after:
        return [before + prompt + after for prompt in prompts]
    return [_render_one(tokenizer, prompt, shots) for prompt in prompts]


def plain_text(prompt: str, template: Template, shots: Sequence[Shot] = ()) -> str:
    """A prompt in R1-Zero's template ("r1") or as a question ("qa"), after worked examples in the same one."""
    if template == "qa":
        worked = "".join(f"{QA.format(prompt=asked)} {solution}\n\n" for asked, solution in shots)
        return worked + QA.format(prompt=prompt)
    # The template is a conversation that has begun, so that examples are its first turns.
    turns = [*(f"{asked}. Assistant: {solution}" for asked, solution in shots), prompt]
    return R1_ZERO.format(prompt="\nUser: ".join(turns))


def messages(prompt: str, shots: Sequence[Shot] = ()) -> list[dict[str, str]]:
    """A prompt as a conversation, worked examples as its earlier turns."""
    turns = [turn for asked, solution in shots
             for turn in ({"role": "user", "content": asked}, {"role": "assistant", "content": solution})]
    return [*turns, {"role": "user", "content": prompt}]


_MARK = " the-user-says-this\n"  # with white space around it, which some templates take away


def _render_one(tokenizer: Tokenizer, prompt: str, shots: Sequence[Shot] = ()) -> str:
    try:
        with calling("the chat template", LOADING):
            text: str = tokenizer.apply_chat_template(
                messages(prompt, shots), tokenize=False, add_generation_prompt=True
            )
    except Exception as error:  # a template is a program that came with the model
        said = " ".join(str(error).split())
        raise PromptError(f"the tokenizer's chat template fails: {type(error).__name__}: {said[:200]}") from error
    return text


def encode_completion(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token ids of a completion, the end-of-text id included."""
    return encode_completions(tokenizer, [text])[0]


def encode_completions(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of many completions at once, each with the end-of-text id."""
    # No special tokens: they stand before the prompt already.
    encoded: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [[*ids, tokenizer.eos_token_id] for ids in encoded]
