"""How a question is put to a model: the same for training, sampling and evaluation."""

from collections.abc import Sequence
from dataclasses import replace

from eval.answer_formats import answer_format
from eval.chat_template import OWN_TEMPLATE, Message, check_options, written
from eval.effort import with_effort, with_line
from eval.errors import PromptError
from eval.instructions import AUTO, default_for, with_instruction
from eval.language_model import Tokenizer
from eval.protocol import Prompting, Template
from eval.tools.box import telling_of_tools
from rewards.types import Problem

# DeepSeek-R1 (arXiv 2501.12948), table 1: the template of R1-Zero, for tokenizers without a chat template.
R1_ZERO = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
    "The assistant first thinks about the reasoning process in the mind and then provides the user with the answer. "
    "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, "
    "i.e., <think> reasoning process here </think> <answer> answer here </answer>. User: {prompt}. Assistant:"
)

QA = "Question: {prompt}\nAnswer:"

NEXT_QUESTION = {"qa": ("Question:",), "r1": ("\nUser:", ". User:", "> User:")}
"""With what the next question of a plain template begins. lm-evaluation-harness ends answers to GSM8K there, too."""

Question = str | Problem | Sequence[Message]
"""What can be asked: a text, a problem (whose verifier has a default instruction), or a conversation."""

PLAIN = Prompting(instruction=None)


def settled(tokenizer: Tokenizer, how: Prompting) -> Prompting:
    """`how` with what "auto" means for this tokenizer. Raises PromptError where its template knows no such option."""
    template = template_of(tokenizer, how.template)
    if template == "chat":
        check_options(tokenizer, how.template_options)
    elif how.template_options:
        raise PromptError(f"template_options are for a chat template, and the template here is {template}")
    own = tokenizer.chat_template == OWN_TEMPLATE
    instruction = None if own and how.instruction == AUTO else how.instruction
    return telling_of_tools(tokenizer, with_effort(tokenizer, replace(how, template=template, instruction=instruction)))


def ended(how: Prompting) -> Prompting:
    """`how`, as `settled` has it, with an end of answers for plain templates that are given none: a base model that has
    answered writes a next question, whose answer would be graded in the place of its own. A policy that is trained on
    what it wrote has to learn to end by itself."""
    ends = () if how.stop or how.tools else NEXT_QUESTION.get(how.template, ())
    return replace(how, stop=ends) if ends else how


def template_of(tokenizer: Tokenizer, template: Template) -> Template:
    """What "auto" means for this tokenizer."""
    if template == "auto":
        return "r1" if tokenizer.chat_template is None else "chat"
    return template


def encode_prompts(tokenizer: Tokenizer, questions: Sequence[Question], how: Prompting = PLAIN) -> list[list[int]]:
    """Token ids of the questions as `how` puts them, up to where the model goes on. Raises PromptError."""
    if not questions:
        return []
    # A chat template writes the special tokens itself; the tokenizer would put a second one in front.
    plain = template_of(tokenizer, how.template) != "chat"
    ids: list[list[int]] = tokenizer(render(tokenizer, questions, how), add_special_tokens=plain)["input_ids"]
    return ids


def encode_prompt(tokenizer: Tokenizer, question: Question, how: Prompting = PLAIN) -> list[int]:
    """Token ids of one question."""
    return encode_prompts(tokenizer, [question], how)[0]


def render(tokenizer: Tokenizer, questions: Sequence[Question], how: Prompting = PLAIN) -> list[str]:
    """The questions as texts: in the tokenizer's chat template, in R1-Zero's or as questions and answers."""
    how = settled(tokenizer, how)
    if how.template != "chat":
        texts = [plain_text(question, how) for question in questions]
    else:
        texts = written(tokenizer, [conversation(question, how) for question in questions], how.template_options)
        _require_system(texts, how.system)
    if not how.open_thinking:
        return texts
    form = answer_format(tokenizer)
    return [text if form.opens(text) else text + form.opening for text in texts]


def conversation(question: Question, how: Prompting) -> list[Message]:
    """A question as messages: the system's turn, worked examples as earlier turns, the question with its instruction.

    A conversation of one's own keeps its own system turn, and its last turn has to be the user's.
    """
    if isinstance(question, str | Problem):
        turns: list[Message] = [turn for asked, solution in how.shots for turn in _shot(asked, solution)]
        turns.append({"role": "user", "content": with_line(question_text(question, how), how)})
    else:
        turns = list(question)
        told = None if how.instruction == AUTO else how.instruction
        if turns and turns[-1].get("role") == "user" and (told or how.effort_line or how.tool_line):
            turns[-1] = {**turns[-1], "content": with_line(with_instruction(turns[-1]["content"], told), how)}
    has_system = bool(turns) and turns[0].get("role") in ("system", "developer")
    return turns if has_system or not how.system else [{"role": "system", "content": how.system}, *turns]


def question_text(question: str | Problem, how: Prompting) -> str:
    """The user's text: the question with its instruction."""
    if isinstance(question, Problem):
        told = how.instruction_for(question.verifier)
        if told and how.instruction == AUTO:
            told = default_for(question.prompt, question.verifier)
        return with_instruction(question.prompt, told)
    return with_instruction(question, None if how.instruction == AUTO else how.instruction)


def plain_text(question: Question, how: Prompting) -> str:
    """A question in R1-Zero's template ("r1") or as a question ("qa"), after the system's text and worked examples.

    Raises PromptError for a conversation, which these templates have no form for.
    """
    if not isinstance(question, str | Problem):
        raise PromptError(f"a conversation needs a chat template, and the template here is {how.template}")
    prompt, system = with_line(question_text(question, how), how), f"{how.system}\n\n" if how.system else ""
    if how.template == "qa":
        worked = "".join(f"{QA.format(prompt=asked)} {solution}\n\n" for asked, solution in how.shots)
        return system + worked + QA.format(prompt=prompt)
    # The template is a conversation that has begun, so that examples are its first turns.
    turns = [*(f"{asked}. Assistant: {solution}" for asked, solution in how.shots), prompt]
    return system + R1_ZERO.format(prompt="\nUser: ".join(turns))


def _shot(asked: str, solution: str) -> tuple[Message, Message]:
    return {"role": "user", "content": asked}, {"role": "assistant", "content": solution}


def _require_system(texts: Sequence[str], system: str | None) -> None:
    if system and texts and system.strip() not in texts[0]:
        raise PromptError("the tokenizer's chat template leaves the system prompt out; put it into `instruction`")
