"""What a vLLM server loads beside its own worker (`--worker-extension-cls retort_vllm_worker.Weights`): taking new
weights while it runs.

This file alone is on the path of vLLM's environment, so it imports nothing of Retort's.
"""

from vllm.model_executor.layers.fused_moe.unquantized_fused_moe_method import UnquantizedFusedMoEMethod
from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding
from vllm.platforms import current_platform


class Weights:
    """Methods of vLLM's worker, called by name through `/collective_rpc`; its `model_runner` is vLLM's own."""

    retort_token = ""

    def retort_loaded(self) -> str:
        """The token of the weights that were loaded last; "" where none were."""
        return self.retort_token

    def retort_load(self, folder: str, token: str) -> str:
        """Load the weights of a saved model (safetensors as transformers names them) into the running one, in place,
        and know them by a token that no others have.

        vLLM's `reload_weights` does so, but on CPUs leaves weights behind that are packed for their kernels, of which
        it repacks but a part (vLLM 0.32; tests/real/test_vllm.py tells when these two are no longer needed).
        """
        self.retort_token = ""
        model = self.model_runner.get_model()  # type: ignore[attr-defined]
        on_cpu = current_platform.is_cpu()
        if on_cpu:
            # 1. Experts are packed only where their kernel is made, and it is kept: new ones would lie unpacked in the
            # place of packed ones.
            for module in model.modules():
                method = getattr(module, "quant_method", None)
                if isinstance(method, UnquantizedFusedMoEMethod):
                    method.moe_kernel = None
        self.model_runner.reload_weights(weights_path=folder)  # type: ignore[attr-defined]
        if on_cpu:
            # 2. A head that is tied to the embeddings has no weights of its own among the new ones, and keeps the
            # packed copy of the old.
            for module in model.modules():
                if isinstance(module, VocabParallelEmbedding):
                    module.quant_method.process_weights_after_loading(module)
        self.retort_token = token
        return token
