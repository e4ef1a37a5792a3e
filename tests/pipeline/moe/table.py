"""Writes the table of MoE families by stages in benchmarks/README.md, from the results of the tests that each cell
stands for.

    make families
"""

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

README = Path(__file__).parents[3] / "benchmarks" / "README.md"
BEGIN, END = "<!-- families: written by `make families` -->", "<!-- end of families -->"
FAMILIES = {
    "mixtral": "Mixtral", "dbrx": "DBRX", "deepseek_v2": "DeepSeek-V2", "deepseek_v3": "DeepSeek-V3",
    "qwen2_moe": "Qwen2-MoE", "qwen3_moe": "Qwen3-MoE", "qwen3_moe_every_second": "every 2nd layer MoE",
    "olmoe": "OLMoE", "gpt_oss": "gpt-oss", "jamba": "Jamba",
}
STAGES = {
    "extend": ("test_families", "test_extend_learns_longer_texts"),
    "sft": ("test_families", "test_sft_learns_and_reaches_every_router"),
    "grpo": ("test_families", "test_grpo_replays_and_reaches_every_router"),
    "sample": ("test_families", "test_sampled_traces_are_what_was_taught"),
    "teacher": ("test_families", "test_a_student_learns_from_its_traces"),
    "evaluate": ("test_families", "test_evaluation_counts_them"),
    "balance": ("test_balance", "test_a_skewed_router_is_evened_out"),
    "resume sft": ("test_resumable", "test_supervised"),
    "resume grpo": ("test_resumable", "test_grpo"),
    "LoRA": ("test_lora", "test_adapters_are_trained_alone_saved_and_merged"),
}
"""A column, and the tests whose cases of a family it stands for."""


def cells(results: Path) -> dict[tuple[str, str], list[bool]]:
    """Whether each test of (family, stage) passed, of a JUnit file."""
    found: dict[tuple[str, str], list[bool]] = {}
    for case in ElementTree.parse(results).iter("testcase"):
        module, (name, _, rest) = str(case.get("classname")).rpartition(".")[2], str(case.get("name")).partition("[")
        for stage, test in STAGES.items():
            if test == (module, name):
                family = next((one for one in FAMILIES if rest.rstrip("]") == one or rest.startswith(f"{one}-")), None)
                if family:
                    passed = all(case.find(other) is None for other in ("failure", "error", "skipped"))
                    found.setdefault((family, stage), []).append(passed)
    return found


def table(found: dict[tuple[str, str], list[bool]]) -> str:
    """A Markdown table: in each cell how many tests passed, `-` where there is none, `FAILS` where one does not."""
    def cell(family: str, stage: str) -> str:
        results = found.get((family, stage), [])
        return "-" if not results else f"{len(results)} ✓" if all(results) else "FAILS"

    lines = [f"| | {' | '.join(STAGES)} |", f"|---|{'---|' * len(STAGES)}"]
    lines += [
        f"| {title} | {' | '.join(cell(family, stage) for stage in STAGES)} |" for family, title in FAMILIES.items()
    ]
    return "\n".join(lines)


def main() -> None:
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    README.write_text(f"{before}{BEGIN}\n{table(cells(Path(sys.argv[1])))}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
