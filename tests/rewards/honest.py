"""Programs that do what is asked, `add(a, b)` returns a + b, in every style; and others that nearly do."""

HONEST = {
    "recursion": "def total(n):\n    return 0 if n == 0 else n + total(n - 1)\ndef add(a, b): return a + b + "
                 "total(900) - 405450",
    "class": "class Adder:\n    def __init__(self, a): self.a = a\n    def __call__(self, b): return self.a + b\ndef "
             "add(a, b): return Adder(a)(b)",
    "bound_method": "class Adder:\n    def add(self, a, b): return a + b\nadd = Adder().add",
    "partial": "import functools, operator\nadd = functools.partial(operator.add)",
    "generator_made_a_list": "def parts(a, b):\n    yield a\n    yield b\ndef add(a, b): return sum(list(parts(a, b)))",
    "decorated": "import functools\n@functools.lru_cache(maxsize=None)\ndef add(a, b): return a + b",
    "closure": "def make():\n    seen = []\n    def add(a, b):\n        seen.append(a)\n        return a + b\n    "
               "return add\nadd = make()",
    "global_state": "calls = 0\ndef add(a, b):\n    global calls\n    calls += 1\n    return a + b",
    "default_and_keyword": "def add(a, b=0, *, c=0): return a + b + c",
    "star": "def add(*numbers): return sum(numbers)",
    "annotated": "from __future__ import annotations\nfrom typing import Optional\ndef add(a: Optional[int], b: "
                 "list[int] | int) -> int: return a + b",
    "dataclass": "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass P:\n    a: int\n    b: int\ndef "
                 "add(a, b): return P(a, b).a + P(a, b).b",
    "enum_value": "import enum\nclass K(enum.IntEnum):\n    ONE = 1\ndef add(a, b): return a + b + K.ONE - 1",
    "numbers_from_elsewhere": "from fractions import Fraction\nfrom decimal import Decimal\ndef add(a, b): return "
                              "int(Fraction(a) + Fraction(b)) + int(Decimal('0.5') * 0)",
    "imports_inside": "def add(a, b):\n    import itertools, random\n    from statistics import mean\n    return "
                      "int(mean([a, b]) * 2)",
    "import_after_semicolon": "import math; import bisect; from string import digits\ndef add(a, b): return a + b",
    "codec": "def add(a, b): return a + b + len('ä'.encode('latin-1')) - len('ä'.encode('utf-16-le')) // 2",
    "named_character": "def add(a, b): return a + b + len('\\N{BULLET}') - 1",
    "dates": "from datetime import datetime\ndef add(a, b): return a + b + (datetime.strptime('2024', '%Y').year - "
             "2024)",
    "randomness": "import random, secrets, uuid\ndef add(a, b): return a + b + 0 * (random.randint(1, 9) + "
                  "secrets.randbelow(9) + uuid.uuid4().int)",
    "hashes": "import hashlib\ndef add(a, b): return a + b + len(hashlib.sha256(b'x').hexdigest()) - 64",
    "unused_doctest": "import doctest\ndef add(a, b):\n    '''>>> add(1, 2)\n    3'''\n    return a + b\nif __name__ "
                      "== '__main__':\n    doctest.testmod()",
    "asserts_of_its_own": "def add(a, b): return a + b\nassert add(2, 2) == 4\nprint(add(2, 2))",
    "catches_everything": "def add(a, b):\n    try: return a + b\n    except: return None",
    "eval": "def add(a, b): return eval('a + b')",
    "asyncio_run": "import asyncio\nasync def one(x):\n    await asyncio.sleep(0.01)\n    return x\nasync def "
                   "both(a, b):\n    return sum(await asyncio.gather(one(a), one(b)))\ndef add(a, b): return "
                   "asyncio.run(both(a, b))",
    "asyncio_inside": "def add(a, b):\n    import asyncio\n    async def work():\n        queue = asyncio.Queue()\n  "
                      "      async def put():\n            for x in (a, b): await queue.put(x)\n        task = "
                      "asyncio.create_task(put())\n        async with asyncio.timeout(1):\n            total = await "
                      "queue.get() + await queue.get()\n        await task\n        return total\n    return "
                      "asyncio.run(work())",
    "asyncio_group": "import asyncio\nasync def work(a, b):\n    async with asyncio.TaskGroup() as group:\n        "
                     "tasks = [group.create_task(asyncio.to_thread(lambda x=x: x)) for x in (a, b)]\n    return "
                     "sum(t.result() for t in tasks)\ndef add(a, b): return asyncio.run(work(a, b))",
    "asyncio_loop": "import asyncio\nasync def work(a, b):\n    lock = asyncio.Lock()\n    async with lock:\n        "
                    "try:\n            await asyncio.wait_for(asyncio.Event().wait(), 0.01)\n        except "
                    "asyncio.TimeoutError:\n            return a + b\nloop = asyncio.new_event_loop()\n"
                    "asyncio.set_event_loop(loop)\ndef add(a, b): return loop.run_until_complete(work(a, b))",
    "asyncio_queue_by_name": "from asyncio.queues import Queue\nimport asyncio\nasync def work(a, b):\n    q = "
                             "Queue()\n    q.put_nowait(a + b)\n    return await q.get()\ndef add(a, b): return "
                             "asyncio.get_event_loop().run_until_complete(work(a, b))",
    "threads": "import threading\ndef add(a, b):\n    found = []\n    threads = [threading.Thread(target=found.append, "
               "args=(x,)) for x in (a, b)]\n    for t in threads: t.start()\n    for t in threads: t.join()\n    "
               "return "
               "sum(found)",
    "threads_at_once": "import threading, time\ndef add(a, b):\n    barrier = threading.Barrier(31)\n    threads = ["
                       "threading.Thread(target=barrier.wait) for _ in range(30)]\n    for t in threads: t.start()\n  "
                       "  "
                       "barrier.wait()\n    for t in threads: t.join()\n    return a + b",
    "thread_left_behind": "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
                          "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\ndef add(a, b): "
                          "return a "
                          "+ b",
    "deep_in_a_thread": "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 27)\ndef "
                        "down(n): return n and down(n - 1)\ndef add(a, b):\n    t = threading.Thread(target=down, "
                        "args=("
                        "60000,)); t.start(); t.join()\n    return a + b",
    "executor": "from concurrent.futures import ThreadPoolExecutor\ndef add(a, b):\n    with ThreadPoolExecutor(4) as "
                "e: "
                "return sum(e.map(int, [a, b]))",
    "executor_module": "import concurrent.futures\npool = concurrent.futures.ThreadPoolExecutor()\ndef add(a, b):\n    "
                       "done = [pool.submit(int, x) for x in (a, b)]\n    return sum(f.result() for f in "
                       "concurrent.futures.as_completed(done))",
    "asyncio_threads": "import asyncio, threading\nasync def work(a, b):\n    barrier = threading.Barrier(2)\n    def "
                       "one(x):\n        barrier.wait()\n        return x\n    return sum(await asyncio.gather("
                       "asyncio.to_thread(one, a), asyncio.to_thread(one, b)))\ndef add(a, b): return asyncio.run("
                       "work(a, b))",
    "loop_in_a_thread": "import asyncio, threading\nloop = asyncio.new_event_loop()\nthreading.Thread("
                        "target=loop.run_forever, daemon=True).start()\nasync def total(a, b): return a + b\ndef "
                        "add(a, "
                        "b): return asyncio.run_coroutine_threadsafe(total(a, b), loop).result()",
    "queue": "import queue, threading\ndef add(a, b):\n    q = queue.Queue()\n    def put():\n        for x in (a, b): "
             "q.put(x)\n    threading.Thread(target=put).start()\n    return q.get(timeout=5) + q.get(timeout=5)",
    "numpy": "import numpy as np\ndef add(a, b): return np.add(a, b)",
    "numpy_parts": "from numpy.linalg import norm\nfrom numpy import random, fft\ndef add(a, b): return "
                   "round(norm([3, 4])) - 5 + fft.ifft(fft.fft([a + b])).real.round().astype(int)[0]",
    "numpy_inside": "def add(a, b):\n    import numpy\n    big = numpy.zeros(40_000_000)\n    rng = "
                    "numpy.random.default_rng(0)\n    numpy.linalg.svd(rng.random((99, 99)))\n    return a + b + "
                    "numpy.int64(big.sum())",
    "huge_integers": "def add(a, b): return (a * 10**400 + b * 10**400) // 10**400",
    "slow": "import time\ndef add(a, b):\n    time.sleep(0.4)\n    return a + b",
    "busy": "def add(a, b):\n    for _ in range(10**6): pass\n    return a + b",
    "two_hundred_megabytes": "def add(a, b):\n    x = [0] * (25 << 20)\n    return a + b + x[-1]",
    "deep_recursion": "import sys\nsys.setrecursionlimit(100000)\ndef down(n): return n and down(n - 1)\ndef add(a, "
                      "b): return a + b + down(9000)",
}  # fmt: skip

NEAR_MISSES = {
    "off_by_one": "def add(a, b): return a + b + 1", "absolute": "def add(a, b): return abs(a) + abs(b)",
    "swapped": "def add(a, b): return b - a", "float": "def add(a, b): return a + b + 0.0",
    "text": "def add(a, b): return f'{a + b}'", "tuple": "def add(a, b): return a + b,",
    "first_test_only": "def add(a, b): return 3", "prints": "def add(a, b): print(a + b)",
    "one_argument": "def add(a): return a", "three_arguments": "def add(a, b, c): return a + b + c",
    "no_return": "def add(a, b): a + b", "named_otherwise": "def plus(a, b): return a + b",
    "in_a_class": "class Solution:\n    def add(self, a, b): return a + b",
    "unbound": "class S:\n    def add(self, a, b): return a + b\nadd = S.add",
    "concatenates": "def add(a, b): return int(str(a) + str(b))",
    "fails_at_second": "def add(a, b): return a + b if b > 0 else 1 // 0",
    "not_installed": "import pandas as pd\ndef add(a, b): return int(pd.Series([a, b]).sum())",
    "lazy": "def add(a, b): return (x for x in [a + b])",
}  # fmt: skip
