"""Settings for every test, and tiny random models of the families that Retort knows."""

import fcntl
import functools
import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from pipeline.contract.checkpoints import METRICS, Checkpoints, CheckpointSchedule

# What the person who runs the tests trusts is none of their business, and the other way round.
_STATE = tempfile.TemporaryDirectory(prefix="retort-tests-")  # removed when the process ends
os.environ["XDG_STATE_HOME"] = _STATE.name
os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach the hub; its client reads this once, when it is imported

# Machines under load are slow now and then, which is no fault of the code; the same examples are tried every time.
settings.register_profile("retort", deadline=None, derandomize=True)
settings.load_profile("retort")


def pytest_collection_finish() -> None:
    """What was imported stays until the process ends, and is not looked through anew by each collection of garbage:
    a Trainer asks for one whenever it begins, which took most of the time of a test that trains."""
    gc.collect()
    gc.freeze()


_COMMON: dict[str, Any] = {
    "vocab_size": 48,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 64,
    "initializer_range": 0.4,  # an error in the attention must be seen in the logits
    "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 50.0},
}
_LATENT = {
    **_COMMON,
    "model_type": "deepseek_v3",
    "first_k_dense_replace": 1,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "moe_intermediate_size": 16,
    "n_group": 1,
    "topk_group": 1,
    "kv_lora_rank": 16,
    "q_lora_rank": 12,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
    "attention_bias": True,
}
_GROUPED = {**_COMMON, "num_key_value_heads": 2, "head_dim": 8}
_YARN = {
    "rope_type": "yarn", "rope_theta": 50.0, "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 4.0,
    "beta_slow": 1.0, "truncate": False, "mscale": 1.0, "mscale_all_dim": 1.0,
}

TINY: dict[str, dict[str, Any]] = {
    "deepseek_v3": _LATENT,
    "deepseek_v3_plain_queries": {**_LATENT, "q_lora_rank": None, "attention_bias": False},
    "deepseek_v3_yarn": {**_LATENT, "rope_parameters": _YARN},
    "qwen3": {**_GROUPED, "model_type": "qwen3"},
    "qwen3_moe": {
        **_GROUPED, "model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
        "decoder_sparse_step": 1, "mlp_only_layers": [],
    },
    "llama": {**_GROUPED, "model_type": "llama"},
    "mistral": {**_GROUPED, "model_type": "mistral", "sliding_window": 8},
    "qwen2": {**_COMMON, "num_key_value_heads": 2, "model_type": "qwen2"},
    "qwen3_moe_every_second": {
        **_GROUPED, "model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
        "decoder_sparse_step": 2, "mlp_only_layers": [],
    },
    "qwen2_moe": {
        **_COMMON, "model_type": "qwen2_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16, "decoder_sparse_step": 1, "mlp_only_layers": [],
    },
    "mixtral": {**_GROUPED, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2},
    "olmoe": {**_COMMON, "model_type": "olmoe", "num_experts": 4, "num_experts_per_tok": 2},
    "deepseek_v2": {**_LATENT, "model_type": "deepseek_v2", "topk_method": "greedy"},
    "gpt_oss": {
        **_GROUPED, "model_type": "gpt_oss", "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "dbrx": {
        "model_type": "dbrx", "vocab_size": 48, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "d_model": 32,
        "n_heads": 4, "n_layers": 2, "max_seq_len": 64, "initializer_range": 0.4, "tie_word_embeddings": False,
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 50.0},
        "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2, "hidden_size": 32},
    },
}


TINY["jamba"] = {  # a layer of Mamba's and one of attention, which knows no positions; both have experts
    **{key: value for key, value in _COMMON.items() if key != "rope_parameters"}, "model_type": "jamba",
    "num_key_value_heads": 2, "num_experts": 4, "num_experts_per_tok": 2, "expert_layer_period": 1,
    "expert_layer_offset": 0, "attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 4, "mamba_dt_rank": 4,
}


@pytest.fixture
def tiny() -> Callable[..., Any]:
    """tiny("qwen3", vocab_size=99) -> a random causal language model of about 20,000 parameters, in eval mode."""

    def build(name: str, **changed: Any) -> Any:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        from pipeline.models.build import prepare
        from pipeline.models.origin import mark_from_scratch

        fields = {**TINY[name], **changed}
        torch.set_num_threads(1)  # two threads a matrix of this size only wait for each other
        torch.manual_seed(0)
        config = AutoConfig.for_model(fields.pop("model_type"), **fields)
        model = prepare(AutoModelForCausalLM.from_config(config)).eval()
        mark_from_scratch(model)  # so that stages train it at rates for what was made here
        return model

    return build


class Recorder:
    """A stage's context that keeps what it is told; `paths` says where inputs are."""

    def __init__(self, out: Path, paths: dict[str, Path] | None = None, seed: int = 0, name: str = "stage") -> None:
        self.out, self.paths, self.seed, self.name = out, paths or {}, seed, name
        self.cache = out.parent / "cache"
        self.notes: list[str] = []
        self.rows: list[Mapping[str, Any]] = []
        self.kept: dict[int, list[Mapping[str, Any]]] = {}
        self.seen: list[tuple[float, float]] = []
        self.checkpoints = Checkpoints(
            out.parent / f"{out.name}-checkpoints", out / METRICS, {}, CheckpointSchedule(every_seconds=None),
            note=self.note
        )

    def path(self, reference: str) -> Path:
        return self.paths[reference]

    def label(self, reference: str) -> str:
        return reference

    def progress(self, done: float, total: float, **figures: float | str) -> None:
        self.seen.append((done, total))

    def log(self, row: Mapping[str, Any]) -> None:
        self.rows.append(row)

    def keep_rollouts(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        self.kept[step] = list(rows)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="session")
def real_tokenizer() -> Callable[[str], Any]:
    """real_tokenizer("qwen3") -> the published tokenizer, also deepseek_v3, llama3_1, gemma3 and gptoss; the test is
    skipped where `make tokenizers` has not fetched it, and RETORT_TOKENIZERS names no folder that has it."""
    folder = Path(os.environ.get("RETORT_TOKENIZERS", Path(__file__).parent.parent / ".tokenizers"))

    @functools.cache
    def load(name: str) -> Any:
        from transformers import AutoTokenizer

        if not (folder / name / "tokenizer.json").is_file():
            pytest.skip(f"there is no tokenizer {name} in {folder}: make tokenizers")
        tokenizer = AutoTokenizer.from_pretrained(folder / name)
        if name == "gptoss":  # its package has no template; trl's copy is OpenAI's
            import trl

            text = (Path(trl.__file__).parent / "chat_templates" / "gptoss.jinja").read_text(encoding="utf-8")
            tokenizer.chat_template = text
        return tokenizer

    return load


@pytest.fixture
def context(tmp_path: Path) -> Callable[..., Recorder]:
    """context(base=folder) -> what a stage is given, with an empty folder `out`."""

    def make(seed: int = 0, **paths: Path) -> Recorder:
        out = tmp_path / f"out-{len(list(tmp_path.glob('out-*')))}"
        out.mkdir()
        return Recorder(out, paths, seed)

    return make


@pytest.fixture(scope="session")
def retort() -> Callable[..., subprocess.CompletedProcess[str]]:
    """retort(folder, "run", "smoke") runs the command there, and returns what it printed and its exit code."""

    def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "120"}
        command = [sys.executable, "-P", "-m", "pipeline.commands.cli", *words]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def made_once(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Callable[[str, Callable[[Path], None]], Path]:
    """made_once("name", make) is a folder that `make` has filled; the same one for all of a parallel test run's
    processes."""

    def folder_of(name: str, make: Callable[[Path], None]) -> Path:
        base = tmp_path_factory.getbasetemp()
        parallel = "workerinput" in vars(request.config)
        folder = (base.parent if parallel else base) / name
        folder.mkdir(exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "whole").exists():
                make(folder)
                (folder / "whole").touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def smoke(made_once: Callable[..., Path], retort: Callable[..., Any]) -> Path:
    """A folder in which `retort run smoke` was run."""

    def run(folder: Path) -> None:
        done = retort(folder, "run", "smoke")
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "printed").write_text(done.stdout + done.stderr)

    return made_once("smoke", run)
