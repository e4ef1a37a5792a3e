"""`retort ask`: one question to a model of a run, with its thinking and its answer."""

import argparse
import math

from eval.answer_reader import AnswerReader
from eval.engine import engine_for
from eval.engine.types import Request, Sampling, rollout_seed
from eval.language_model import Tokenizer
from eval.prompts import encode_prompt, ended, settled
from pipeline.commands import prompt_flags
from pipeline.contract.errors import CommandError, StageError
from pipeline.store.model_reference import model_of
from rewards.extract import split_thinking
from rewards.lazy import lazy

with lazy:
    from pipeline.models import pretrained
    from pipeline.training.placement import own_device



def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run's folder, such as runs/quickstart")
    parser.add_argument("stage", help="the stage whose model answers, such as student")
    parser.add_argument("question", type=prompt_flags.text)
    parser.add_argument("--temperature", type=float, default=0.0, help="default: 0, the likeliest answer")
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    prompt_flags.add(parser)


def main(args: argparse.Namespace) -> int:
    if args.max_tokens < 1 or not 0 <= args.temperature < math.inf:
        raise CommandError("--max-tokens must be at least 1, and --temperature at least 0")
    folder, label = model_of(f"{args.run}:{args.stage}")
    try:
        model, tokenizer = pretrained.load(folder)
    except StageError as error:
        raise CommandError(str(error)) from error
    how = ended(settled(tokenizer, prompt_flags.prompting(args)))
    prompt = encode_prompt(tokenizer, args.question, how)
    context = pretrained.context_length(model)
    room = None if context is None else context - len(prompt)
    if room is not None and room < 1:
        raise CommandError(f"the question has {len(prompt):,} tokens, and {label} reads {context:,} with its answer; "
                           "ask something shorter")
    request = Request(prompt, [rollout_seed(args.seed, "ask", args.question)], room)
    sampling = Sampling(args.max_tokens, args.temperature, stop=how.stop)
    ((sampled,),) = engine_for(model.to(own_device()), tokenizer).sample([request], sampling)
    reader = AnswerReader(tokenizer, stop=how.stop)
    completion = reader.completion(sampled.ids, opened=reader.opens(prompt), finished=sampled.finished)
    thinking, answer = split_thinking(completion)
    unknown = unknown_words(tokenizer, args.question)
    if unknown:
        print(f"(words that {label} has never seen: {', '.join(unknown)})")
    print(f"thinking  {thinking.removeprefix('<think>').strip() or '(none)'}")
    print(f"answer    {(answer or '').strip().removeprefix('<answer>').removesuffix('</answer>').strip() or '(none)'}")
    if not sampled.finished:
        print(f"(stopped after {len(sampled.ids)} tokens)")
    return 0


def unknown_words(tokenizer: Tokenizer, text: str) -> list[str]:
    """What of a text the tokenizer has no token for, in order; nothing where it spells unknown words out."""
    if tokenizer.unk_token_id is None:
        return []
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    spans = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    return list(dict.fromkeys(text[a:b].strip() for token, (a, b) in spans if token == tokenizer.unk_token_id))
