"""Scripts are given standard input and judged by what they print."""

from typing import Any

import pytest

from rewards.grade import grade
from rewards.types import Completion, Label, Problem, Verdict

TESTS = [{"stdin": "3 4\n", "stdout": "7\n"}, {"stdin": "10 -4\n", "stdout": "6\n"}]


def run(program: str, tests: list[Any] | None = None, **options: Any) -> Verdict:
    return grade(Problem("p", "", {"tests": tests or TESTS, "seconds": 1, **options}, "code", ""), Completion(program))


@pytest.mark.parametrize(
    "program",
    [
        "a, b = map(int, input().split())\nprint(a + b)",
        "import sys\nprint(sum(map(int, sys.stdin.read().split())))",
        "print(sum(map(int, open(0).read().split())))",
        "import sys\nsys.stdout.buffer.write(str(sum(map(int, sys.stdin.buffer.readline().split()))).encode())",
        "def main():\n    print(sum(int(x) for line in open('/dev/stdin') for x in line.split()), end='')\nif "
        "__name__ == '__main__':\n    main()\n    exit(0)",
        "import sys\na, b = input().split()\nprint(int(a) + int(b), '  \\n\\n')\nprint('debug', file=sys.stderr)",
        "import sys\na, b = input().split()\nsys.stdout.write(str(int(a) + int(b)))\nsys.stdout = None",
        "import os, io\ninput = io.BytesIO(os.read(0, os.fstat(0).st_size)).readline\na, b = map(int, "
        "input().split())\n"
        "os.write(1, str(a + b).encode())",
        "import os, sys\nfrom io import BytesIO, IOBase\nclass FastIO(IOBase):\n    def __init__(self, file):\n"
        "        self._fd = file.fileno()\n        self.buffer = BytesIO()\n        self.writable = 'x' in file.mode "
        "or "
        "'r' not in file.mode\n    def read(self):\n        return os.read(self._fd, max(os.fstat(self._fd).st_size, "
        "8192))\n    def flush(self):\n        os.write(self._fd, self.buffer.getvalue())\nout = FastIO(sys.stdout)\n"
        "out.buffer.write(str(sum(map(int, FastIO(sys.stdin).read().split()))).encode())\nout.flush()",
        "a, b = map(int, open(0, 'rb').read().split())\nprint(a + b)",
        "import sys\ninput = sys.stdin.buffer.readline\na, b = map(int, input().split())\nprint(a + b)",
        "input_ = input\na, b = map(int, input_().split())\nprint(a + b)\nraise SystemExit(1)",
    ],
)
def test_right(program: str) -> None:
    verdict = run(program)
    assert verdict.correct, verdict


@pytest.mark.parametrize(
    "program",
    [
        "print(7)", "a, b = input().split()\nprint(a + b)", "", "input()\ninput()", "print(open(0).read())",
        "import os\nos._exit(0)", "import os\nos.write(2, b'7')", "import os\nos.write(1, bytes(1 << 20))", "a, b = "
        "map(int, input().split())\nprint(a + b)\nprint('done')",
        "a, b = map(int, input().split())\nprint(a, '+', b)\n1 / 0",
        "import os\nos.write(3, b'\\0\\0\\0\\x0d[\"value\",\"7\"]'); os._exit(0)", "while True: print(7)",
        "print('7\\n' * 10**6)", "a, b = map(int, input().split())\nprint(a + b)\n1 / 0", "while True: pass",
    ],
)  # fmt: skip
def test_wrong(program: str) -> None:
    assert not run(program).correct


def test_each_test_has_a_process_of_its_own() -> None:
    program = (
        "import builtins\nassert not hasattr(builtins, 'mark')\nbuiltins.mark = 1\na, b = map(int, "
        "input().split())\nprint(a + b)"
    )
    assert run(program).correct


@pytest.mark.parametrize(("program", "right"), [
    ("threading.Thread(target=late).start()\nprint(7)", True),
    ("threading.Thread(target=late).start()\nprint(7)\nraise SystemExit", True),
    ("pool = concurrent.futures.ThreadPoolExecutor()\nprint(7)\npool.submit(late)", True),
    ("print(7)\nt = threading.Thread(target=late)\nt.start()\nt.join()", True),
    ("print(7)\nthreading.Thread(target=late, daemon=True).start()", False),
    ("print(7)\nthreading._shutdown = None\nthreading.Thread(target=late, daemon=True).start()", False),
])
def test_what_a_thread_prints(program: str, right: bool) -> None:
    before = "import concurrent.futures, threading, time\ndef late():\n    time.sleep(0.2)\n    print('late')\n"
    assert run(before + program, [{"stdin": "", "stdout": "7\nlate"}]).correct is right


def test_some_tests_passed() -> None:
    half = run("input()\nprint(7)")
    assert (half.label, half.share, half.reason) == (Label.WRONG, 0.5, "test 2: '7\\n' where '6\\n' is expected")


@pytest.mark.parametrize("limit", [{"each": 1, "seconds": 9}, {"seconds": 1}])
def test_a_script_that_is_too_slow_has_passed_the_tests_before(limit: dict[str, float]) -> None:
    slow = run("a, b = map(int, input().split())\nwhile a == 10: pass\nprint(a + b)", TESTS * 2, **limit)
    assert (slow.label, slow.share, slow.reason) == (Label.WRONG, 0.25, "test 2: no answer within 1 s")
    first = run("a, b = map(int, input().split())\nwhile a == 10: pass\nprint(b)", TESTS, **limit)
    assert first.reason == "test 1: '4\\n' where '7\\n' is expected"


@pytest.mark.parametrize(("expected", "said", "tolerance", "right"), [
    ("1 2\n3", "1   2\n\n 3 \n", 0, True), ("1 2", "1\n2", 0, False), ("0.50", "0.5", 0, True), ("2", "2.0", 0, True),
    ("0.5", "0.5000001", 0, False), ("0.5", "0.5000001", 1e-5, True), ("5", "5.0000001", 1e-5, False),
    ("1e9", "1000000001", 1e-5, True), ("1000000000", "1000000001", 1e-5, False), ("0.5", "0.6", 1e-5, False),
    ("YES", "yes", 0, False), ("nan", "NaN", 1e-5, False), ("inf", "Infinity", 0, False),
    ("0.1", "1e999999999", 0.1, False),
    ("1e99999999", "0.1", 0.1, False), ("1.5", "one", 1e-5, False), ("", "\n \n", 0, True), ("1", "", 0, False),
    ("1" * 500, "1" * 500, 0, True), ("1" * 500, "1" * 500 + ".0", 0, False),
])  # fmt: skip
def test_words_of_a_loose_comparison(expected: str, said: str, tolerance: float, right: bool) -> None:
    tests = [{"stdin": "", "stdout": expected}]
    assert run(f"print({said!r})", tests, compare="loose", tolerance=tolerance).correct is right


def test_tests_that_are_none() -> None:
    assert run("print(7)", [{"stdin": "3 4"}]).label is Label.UNGRADABLE
    assert run("print(7)", [*TESTS, {"input": [1], "expected": 2}]).label is Label.UNGRADABLE
