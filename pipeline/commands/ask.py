"""`retort ask`: one question to a model of a run, with its thinking and its answer."""

import argparse

from pipeline.errors import UserError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run's folder, such as runs/quickstart")
    parser.add_argument("stage", help="the stage whose model answers, such as student")
    parser.add_argument("question")
    parser.add_argument("--temperature", type=float, default=0.0, help="default: 0, the likeliest answer")
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)


def main(args: argparse.Namespace) -> int:
    from eval.engine import engine_for
    from eval.engine.types import Request, Sampling, rollout_seed
    from eval.prompts import decode_completion, encode_text
    from pipeline import models
    from pipeline.model_reference import model_of
    from pipeline.stage import StageError
    from rewards.extract import split_thinking
    from rewards.types import Completion

    folder, label = model_of(f"{args.run}:{args.stage}")
    try:
        model, tokenizer = models.load(folder)
    except StageError as error:
        raise UserError(str(error)) from error
    prompt = encode_text(tokenizer, args.question)
    request = Request(prompt, [rollout_seed(args.seed, "ask", args.question)])
    sampled = engine_for(model, tokenizer).sample([request], Sampling(args.max_tokens, args.temperature))[0][0]
    text = decode_completion(tokenizer, sampled.ids)
    thinking, answer = split_thinking(Completion(text, sampled.finished))
    unknown = sorted({word for word in args.question.split() if tokenizer.unk_token_id in tokenizer(word)["input_ids"]})
    if unknown and tokenizer.unk_token_id is not None:
        print(f"(words that {label} has never seen: {', '.join(unknown)})")
    print(f"thinking  {thinking.removeprefix('<think>').strip() or '(none)'}")
    print(f"answer    {(answer or '').strip().removeprefix('<answer>').removesuffix('</answer>').strip() or '(none)'}")
    if not sampled.finished:
        print(f"(stopped after {args.max_tokens} tokens)")
    return 0


