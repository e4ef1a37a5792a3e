"""Rollouts of GRPO by vLLM in the training's own processes, through trl's `VLLMGeneration`."""

from collections.abc import Callable, Sequence

from accelerate import Accelerator
from trl.generation.vllm_generation import VLLMGeneration

from eval.answer_reader import AnswerReader
from eval.ends import ends_of
from eval.engine.types import Request, Sampled, Sampling, Written
from eval.language_model import LanguageModel, Tokenizer
from pipeline.serving.section import Vllm


class ColocatedEngine:
    """Rollouts by vLLM, whose weights `refresh` makes those of the policy of now.

    vLLM draws by itself: seeds are only counted, `Sampling` has to be what the engine was made with, and a run that is
    resumed is not the run that was left alone. Experts are not recorded. Each request has to have a whole group of
    seeds, and no bound of its own.
    """

    def __init__(
        self, policy: LanguageModel, accelerator: Accelerator, tokenizer: Tokenizer, vllm: Vllm, sampling: Sampling,
        group_size: int, rollouts: int,
    ) -> None:
        """`rollouts` is how many this process asks for in a step. Texts that stop a rollout stay in its ids."""
        self.group_size = group_size
        self.reader = AnswerReader(tokenizer, ends_of(tokenizer, policy), sampling.stop)
        stopping = {"stop": list(sampling.stop), "include_stop_str_in_output": True} if sampling.stop else {}
        self.generation = VLLMGeneration(
            model=policy, accelerator=accelerator, processing_class=tokenizer, mode="colocate",
            gpu_memory_utilization=vllm.gpu_memory, tensor_parallel_size=vllm.tensor_parallel,
            max_num_seqs=rollouts * vllm.tensor_parallel, temperature=sampling.temperature,
            max_completion_length=sampling.max_tokens, logprobs=0,
            generation_kwargs={"stop_token_ids": sorted(self.reader.ends), **stopping},
        )

    def refresh(self) -> None:
        """Send the policy's weights of now."""
        self.generation.sync_weights()

    def sample(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        progress: Callable[[int, int], None] | None = None,
        written: Written | None = None,
    ) -> list[list[Sampled]]:
        # trl wants a prompt for each rollout, and makes one request of a group itself.
        prompts = [list(request.prompt) for request in requests for _ in request.seeds]
        _, completions, logprobs, _ = self.generation.generate(
            prompts=prompts, images=None, num_generations=self.group_size
        )
        ordered = iter([
            # of the log-probabilities of each token the drawn one's is first; None where vLLM has none
            Sampled(list(ids), [float("nan") if most[0] is None else most[0] for most in values],
                    self.reader.ended(ids))
            for ids, values in zip(completions, logprobs, strict=True)
        ])
        groups = [[next(ordered) for _ in request.seeds] for request in requests]
        for place, group in enumerate(groups):
            for index, one in enumerate(group):
                if written:
                    written(place, index, one)
        if progress:
            progress(len(prompts), len(prompts))
        return groups
