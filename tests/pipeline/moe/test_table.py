"""The table of families in benchmarks/README.md is of tests that are there, and has every family in it."""

from pathlib import Path

from pipeline.moe.families import FAMILIES as KNOWN
from tests.pipeline.moe import table
from tests.pipeline.moe.test_families import FAMILIES

RESULTS = """<testsuite>
<testcase classname="tests.pipeline.moe.test_families" name="test_extend_learns_longer_texts[mixtral]"/>
<testcase classname="tests.pipeline.training.test_resumable" name="test_grpo[qwen3_moe-changed3-3-4]"/>
<testcase classname="tests.pipeline.training.test_resumable" name="test_grpo[qwen3_moe-changed4-2-4]"/>
<testcase classname="tests.pipeline.training.test_resumable" name="test_grpo[qwen3_moe_every_second-changed4-2-4]"><failure/></testcase>
<testcase classname="tests.pipeline.training.test_resumable" name="test_grpo[llama-changed4-2-4]"/>
</testsuite>"""


def test_cells_are_of_their_family_alone(tmp_path: Path) -> None:
    (tmp_path / "results.xml").write_text(RESULTS)
    found = table.cells(tmp_path / "results.xml")
    assert found == {
        ("mixtral", "extend"): [True], ("qwen3_moe", "resume grpo"): [True, True],
        ("qwen3_moe_every_second", "resume grpo"): [False],
    }
    lines = table.table(found).splitlines()
    assert lines[0].startswith("| | extend | sft | grpo |")
    assert "| Qwen3-MoE | - | - | - | - | - | - | - | - | 2 ✓ | - |" in lines
    assert "| every 2nd layer MoE | - | - | - | - | - | - | - | - | FAILS | - |" in lines


def test_the_readme_has_every_family_and_none_that_fails() -> None:
    assert set(KNOWN) <= set(table.FAMILIES) == set(FAMILIES)
    text = table.README.read_text(encoding="utf-8")
    written = text.partition(table.BEGIN)[2].partition(table.END)[0]
    assert written.count("\n| ") == 1 + len(FAMILIES)
    assert written.count(" ✓") == len(FAMILIES) * len(table.STAGES)
