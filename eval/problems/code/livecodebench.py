"""LiveCodeBench's code generation (Jain et al. 2024, arXiv 2403.07974).

    {"question_content": "..", "question_id": "abc301_a", "starter_code": "", "metadata": "{\\"func_name\\": \\"f\\"}",
     "public_test_cases": "[{\\"input\\": \\"..\\", \\"output\\": \\"..\\", \\"testtype\\": \\"stdin\\"}]",
     "private_test_cases": ".."}

The private tests are JSON, too, or that text pickled, compressed with zlib and written in base64. The arguments of a
functional test are lines of JSON.
"""

import base64
import binascii
import json
import pickletools
import zlib
from typing import Any  # JSON

from eval.problems.code.prompts import PRELUDE, as_script, with_starter
from eval.problems.code.row import (
    EACH,
    MEGABYTES,
    CannotGrade,
    CodeProblem,
    name,
    parsed,
    require_gradable,
    require_python,
    seconds_in_all,
    text,
)
from eval.row_files import Row

COLUMNS = ("question_content", "public_test_cases")
MOST_UNPACKED = 1 << 29
"""Bytes that the private tests of a row may unpack to."""

# What a pickle of one text is made of. Nothing is run for reading these, and nothing else is read.
_OF_TEXT = {"PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT", "STOP"}
_TEXT = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"}


def read(row: Row) -> CodeProblem:
    """Raises CannotGrade."""
    question, starter = text(row, "question_content"), text(row, "starter_code", needed=False)
    require_gradable(row, question)
    require_python(starter)
    cases = [*_cases(row, "public_test_cases"), *_cases(row, "private_test_cases")]
    if not cases:
        raise CannotGrade("have no tests")
    types = {case.get("testtype", "stdin") for case in cases}
    if len(types) != 1 or not types <= {"stdin", "functional"}:
        raise CannotGrade("have tests of other types than stdin or functional", ", ".join(sorted(map(str, types))))
    answer: dict[str, object] = {
        "prelude": PRELUDE, "compare": "loose", "each": EACH, "seconds": seconds_in_all(EACH, len(cases)),
        "megabytes": MEGABYTES,
    }
    if types == {"functional"}:
        metadata = parsed(row.get("metadata"), "metadata")
        entry = metadata.get("func_name") if isinstance(metadata, dict) else None
        if not isinstance(entry, str) or not entry.isidentifier():
            raise CannotGrade("have functional tests and no func_name in 'metadata'")
        prompt = with_starter(question, starter, entry)
        answer |= {"entry": f"Solution().{entry}", "tests": [_call(case) for case in cases]}
    else:
        prompt = as_script(question)
        answer["tests"] = [{"stdin": case["input"], "stdout": case["output"]} for case in cases]
    meta = {key: row[key] for key in ("difficulty", "platform") if isinstance(row.get(key), str)}
    if (date := row.get("contest_date")) is not None:  # by which one tells what a model cannot have seen
        meta["contest_date"] = str(date)
    return CodeProblem(name(row, "question_id"), prompt, answer, question.strip(), meta)


def _cases(row: Row, column: str) -> list[dict[str, Any]]:
    told = row.get(column)
    cases = parsed(unpacked(told), column) if isinstance(told, str) and not told.lstrip().startswith("[") else \
        parsed(told, column)
    if cases is None:
        return []
    if not isinstance(cases, list) or not all(
            isinstance(case, dict) and all(isinstance(case.get(key), str) for key in ("input", "output"))
            for case in cases):
        raise CannotGrade(f"have no list of inputs and outputs in {column!r}", json.dumps(cases)[:80])
    return cases


def unpacked(told: str) -> str:
    """The text that was pickled, compressed and written in base64; what says nothing stays "". Raises CannotGrade."""
    if not told.strip():
        return ""
    try:
        packed = base64.b64decode(told, validate=True)
        machine = zlib.decompressobj()
        data = machine.decompress(packed, MOST_UNPACKED)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise CannotGrade("have tests that are neither JSON nor packed as LiveCodeBench does it", error) from error
    if machine.unconsumed_tail or not machine.eof:
        raise CannotGrade(f"have tests that unpack to more than {MOST_UNPACKED:,} bytes, or are cut off")
    if data[:1] in (b"[", b"{"):
        return data.decode("utf-8", "replace")
    texts: list[str] = []
    others: set[str] = set()
    try:
        for operation, argument, _ in pickletools.genops(data):
            if operation.name in _TEXT:
                texts.append(str(argument))
            else:
                others.add(operation.name)
    except (ValueError, OverflowError) as error:
        raise CannotGrade("have tests in a pickle that cannot be read", error) from error
    if len(texts) != 1 or not others <= _OF_TEXT:
        raise CannotGrade("have tests in a pickle that is more than a text, which is not loaded",
                          ", ".join(sorted(others - _OF_TEXT)))
    return texts[0]


def _call(case: dict[str, Any]) -> dict[str, Any]:
    arguments = [parsed(line, "input") for line in case["input"].split("\n") if line.strip()]
    if not case["output"].strip():
        raise CannotGrade("have a functional test without an output")
    return {"input": arguments, "expected": parsed(case["output"], "output")}
