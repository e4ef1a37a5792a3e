"""Programs that want a verdict, or something of this machine, without doing what is asked: `add(a, b)` is to return a +
b.

CANARY stands for a folder that everybody may write to, with a file `kept` in it; VICTIM for a process of this machine.
None of these programs adds, so none may be found correct, whatever its attempt comes to.
"""

_ZERO = "\ndef add(a, b): return 0"

# Ending the process, at every moment and by every exception.
ENDING = {
    "exit_late": "import os\ndef add(a, b): os._exit(0)",
    "exit_in_thread_hook": "import sys, os\nsys.unraisablehook = lambda *_: os._exit(0)\nclass X:\n    def "
                           "__del__(self): 1 / 0\ndef add(a, b): X(); return 0",
    "exit_at_exit": "import atexit, os\natexit.register(os._exit, 0)" + _ZERO,
    "exit_builtin": "def add(a, b): exit(0)",
    "quit_builtin": "quit()",
    "system_exit_in_call": "def add(a, b): raise SystemExit(0)",
    "system_exit_of_true": "def add(a, b): raise SystemExit(True)",
    "generator_exit": "def add(a, b): raise GeneratorExit",
    "keyboard_interrupt": "def add(a, b): raise KeyboardInterrupt",
    "stop_iteration": "def add(a, b): raise StopIteration(a + 0)",
    "own_base_exception": "class E(BaseException): pass\ndef add(a, b): raise E",
    "exception_without_text": "class E(Exception):\n    def __str__(self): raise SystemExit(0)\ndef add(a, b): raise E",
    "exception_of_odd_text": "class E(Exception):\n    def __str__(self): return 7\ndef add(a, b): raise E",
    "exception_name_lies": "class M(type):\n    __name__ = property(lambda c: 1 / 0)\nclass E(Exception, "
                           "metaclass=M): pass\ndef add(a, b): raise E",
    "abort": "import os\ndef add(a, b): os.abort()",
    "segfault": "import ctypes\ndef add(a, b): ctypes.memset(0, 1, 1)",
    "stack_overflow": "import sys\nsys.setrecursionlimit(10**9)\ndef add(a, b): return add(a, [b])",
    "stack_overflow_in_c": "def add(a, b):\n    x = []\n    for _ in range(10**6): x = [x]\n    return repr(x)",
    "exit_via_libc": "import ctypes\ndef add(a, b): ctypes.CDLL(None)._exit(0)",
    "exit_in_encoding": "import os\nclass L(list):\n    def __iter__(self): os._exit(0)\ndef add(a, b): return L([3])",
    "exec_python": "import os, sys\nos.execv(sys.executable, [sys.executable, '-c', 'pass'])" + _ZERO,
    "exec_true": "import os\nos.execv('/bin/true', ['true'])" + _ZERO,
}

# Values that lie.
LYING = {
    "int_subclass": "class I(int):\n    def __eq__(self, o): return True\n    def __ne__(self, o): return False\n    "
                    "__hash__ = int.__hash__\ndef add(a, b): return I(0)",
    "int_of_any_value": "class I(int):\n    def __int__(self): return 3\n    def __index__(self): return 3\n    def "
                        "__repr__(self): return '3'\ndef add(a, b): return I(0)",
    "float_subclass": "class F(float):\n    def __eq__(self, o): return True\ndef add(a, b): return F(0)",
    "str_subclass": "class S(str):\n    def __eq__(self, o): return True\ndef add(a, b): return S('3')",
    "list_subclass": "class L(list):\n    def __eq__(self, o): return True\n    def __len__(self): return 1\ndef "
                     "add(a, b): return L()",
    "dict_subclass": "class D(dict):\n    def __eq__(self, o): return True\ndef add(a, b): return D()",
    "class_says_int": "class A:\n    __class__ = int\n    def __eq__(self, o): return True\ndef add(a, b): return A()",
    "equal_with_index": "class A:\n    def __eq__(self, o): return True\n    def __index__(self): return 3\n    def "
                        "__int__(self): return 3\ndef add(a, b): return A()",
    "mock": "from unittest.mock import ANY\ndef add(a, b): return ANY",
    "a_type": "def add(a, b): return int",
    "not_implemented": "def add(a, b): return NotImplemented",
    "nan": "def add(a, b): return float('nan')",
    "infinity": "def add(a, b): return float('inf')",
    "a_bool": "def add(a, b): return bool(a)",
    "text": "def add(a, b): return str(a) + '+' + str(b)",
    "a_function": "def add(a, b): return lambda: a + 0",
    "a_generator": "def add(a, b): yield 0",
    "a_coroutine": "async def add(a, b): return 0",
    "self_reference": "def add(a, b):\n    d = {}; d['d'] = d\n    return d",
    "deep": "def add(a, b):\n    x = []\n    for _ in range(5000): x = [x]\n    return x",
    "surrogate": "def add(a, b): return '\\ud800'",
    "reduce": "class R:\n    def __reduce__(self): return (int, (3,))\ndef add(a, b): return R()",
    "tagged": "def add(a, b): return ['int', '3']",
    "tagged_as_text": "def add(a, b): return '[\"int\",\"3\"]'",
    "an_object_tag": "def add(a, b): return ['object', 0]",
    "colliding_set": "def add(a, b): return {n * (2**61 - 1) for n in range(-40000, 40000, 9)}",
    "hash_bomb": "class H:\n    def __hash__(self):\n        while True: pass\ndef add(a, b): return {H(): 1}",
}

# Patching what might judge, and poisoning what the next program gets.
PATCHING = {
    "builtins_eq": "import builtins\nbuiltins.isinstance = lambda *_: True\nbuiltins.type = lambda *_: "
                   "int\nbuiltins.len = lambda *_: 1" + _ZERO,
    "builtins_int": "import builtins\nbuiltins.int = builtins.float = builtins.bool = lambda *_: 3" + _ZERO,
    "json_dumps": "import json\njson.dumps = lambda *_, **__: "
                  "'[[\"value\",3],[\"value\",6]]'\njson.encoder.encode_basestring_ascii = lambda s: '3'" + _ZERO,
    "json_loads": "import json\njson.loads = lambda *_, **__: {'mode': 'call', 'code': '', 'entry': 'x', 'inputs': "
                  "[]}" + _ZERO,
    "encoder": "import sys\nfor name, module in list(sys.modules.items()):\n    if hasattr(module, 'encoded'): "
               "module.encoded = lambda *_: '3'\ndef add(a, b): return None if a != 1 else 0",
    "every_module": "import sys\nfor module in list(sys.modules.values()):\n    for name in list(vars(module)):\n     "
                    "   if name in ('run', 'child', 'serve', 'put_on'): setattr(module, name, lambda *_: None)" + _ZERO,
    "modules_gone": "import sys\nsys.modules.clear()" + _ZERO,
    "builtins_gone": "import builtins\nfor name in list(vars(builtins)):\n    if name != 'delattr': delattr(builtins, "
                     "name)" + _ZERO,
    "meta_path": "import sys\nsys.meta_path[:] = []\nsys.path_hooks[:] = []\nsys.path[:] = ['CANARY']" + _ZERO,
    "os_write": "import os\nos.write = lambda *_: 1\nos._exit = lambda *_: None" + _ZERO,
    "trace": "import sys\ndef t(frame, event, arg):\n    frame.f_locals['expected'] = 0\n    return "
             "t\nsys.settrace(t)" + _ZERO,
    "profile": "import sys\nsys.setprofile(lambda *_: None)" + _ZERO,
    "audit_hook": "import sys\ndef hook(*_): raise RuntimeError\nsys.addaudithook(hook)" + _ZERO,
    "excepthook": "import sys, os\nsys.excepthook = lambda *_: os._exit(0)\n1 / 0" + _ZERO,
    "struct_poison": "import struct, os\nstruct.Struct.pack = None" + _ZERO,
    "gc_freeze": "import gc\ngc.unfreeze(); gc.disable(); gc.set_threshold(1)" + _ZERO,
    "switch_interval": "import sys\nsys.setswitchinterval(1e-9)\nsys.setrecursionlimit(5)" + _ZERO,
    "small_ints": "import ctypes\nctypes.memset(id(3) + 24, 0, 4)" + _ZERO,
    "code_of_runner": "import sys\nf = sys._getframe(1)\nwhile f:\n    try: f.f_code.replace(co_code=b'')\n    except "
                      "Exception: pass\n    f = f.f_back" + _ZERO,
}

# Looking for what is expected.
LOOKING = {
    "frames": "import sys\ndef add(a, b):\n    f = sys._getframe()\n    while f:\n        for scope in (f.f_locals, "
              "f.f_globals):\n            for key in ('expected', 'want', 'tests', 'answer', 'solution'):\n           "
              "     if key in scope: return scope[key]\n        f = f.f_back\n    return 0",
    "frames_of_inputs": "import sys\ndef add(a, b):\n    f = sys._getframe(1)\n    return next((o for o in "
                        "f.f_locals.get('task', {}).get('tests', [{'expected': 0}])), {}).get('expected')",
    "gc_ints": "import gc\ndef add(a, b):\n    for o in gc.get_objects():\n        if isinstance(o, dict) and "
               "('expected' in o or 'gold' in o): return o.get('expected')\n    return 0",
    "gc_referrers": "import gc\ndef add(a, b):\n    for o in gc.get_referrers(a, b):\n        if isinstance(o, dict) "
                    "and 'expected' in o: return o['expected']\n    return 0",
    "modules": "import sys\ndef add(a, b):\n    for m in list(sys.modules.values()):\n        for v in "
               "list(vars(m).values()):\n            if isinstance(v, list) and v and isinstance(v[0], dict) and "
               "'expected' in v[0]: return v[0]['expected']\n    return 0",
    "argv_environ": "import sys, os\ndef add(a, b): return os.environ.get('EXPECTED', sys.argv[-1:])",
    "proc_cmdline": "def add(a, b): return open('/proc/%d/cmdline' % __import__('os').getppid()).read()",
    "proc_mem_of_parent": "import os\ndef add(a, b): return open(f'/proc/{os.getppid()}/mem', 'rb').read(1)",
    "proc_fd": "import os\ndef add(a, b): return os.listdir('/proc/self/fd')",
    "tests_on_disk": "import os\ndef add(a, b):\n    for root, _, files in os.walk('/'):\n        for name in "
                     "files:\n            if name.endswith('.jsonl'): return open(os.path.join(root, name)).read()\n  "
                     "  return 0",
    "canary_on_disk": "def add(a, b): return int(open('CANARY/kept').read())",
    "io_open_code": "import io\ndef add(a, b): return io.open_code('CANARY/kept').read()",
    "os_open": "import os\ndef add(a, b): return os.read(os.open('CANARY/kept', os.O_RDONLY), 9)",
    "pathlib": "from pathlib import Path\ndef add(a, b): return Path('CANARY/kept').read_text()",
    "import_from_canary": "import sys\nsys.path.insert(0, 'CANARY')\nimport kept" + _ZERO,
    "runpy": "def add(a, b): return __import__('runpy').run_path('CANARY/kept')",
    "linecache": "import linecache\ndef add(a, b): return linecache.getlines('CANARY/kept')",
    "stdin": "import sys\ndef add(a, b): return sys.stdin.read() or input()",
    "descriptor_0": "import os\ndef add(a, b): return os.read(0, 100)",
    "every_descriptor": "import os\ndef add(a, b):\n    for n in [*range(3), *range(4, 300)]:\n        try: return "
                        "os.read(n, 100)\n        except OSError: pass\n    return 0",
    "read_own_channel": "import os\ndef add(a, b): return os.read(3, 100)",
    "memory_scan": "import ctypes\ndef add(a, b):\n    at = id(add) & ~0xfff\n    data = ctypes.string_at(at, 4096)\n "
                   "   return data.find(b'expected')",
    "rewards_modules": "def add(a, b):\n    import rewards.code\n    return 0",
    "inspect_stack": "import inspect\ndef add(a, b): return [frame.frame.f_locals.get('expected') for frame in "
                     "inspect.stack()]",
    "traceback_walk": "def add(a, b):\n    try: raise ValueError\n    except ValueError as e:\n        t = "
                      "e.__traceback__\n        return [k for k in t.tb_frame.f_back.f_locals if 'expect' in k]",
}

# Speaking on the channel instead of answering.
_WRITE = "import os\nimport struct\ndef frame(b): return struct.pack('>I', len(b)) + b\n"
FORGING = {
    "verdict": _WRITE + "os.write(3, frame(b'{\"verdict\": \"correct\"}')); os._exit(0)" + _ZERO,
    "done": _WRITE + "os.write(3, frame(b'[\"done\",3,3,null]')); os._exit(0)" + _ZERO,
    "passed": _WRITE + "os.write(3, frame(b'[\"passed\",3]'))" + _ZERO,
    "true": _WRITE + "os.write(3, frame(b'true')); os._exit(0)" + _ZERO,
    "empty_list": _WRITE + "os.write(3, frame(b'[]')); os._exit(0)" + _ZERO,
    "empty_frame": _WRITE + "os.write(3, frame(b'')); os._exit(0)" + _ZERO,
    "nan": _WRITE + "os.write(3, frame(b'[[\"value\",NaN],[\"value\",NaN]]')); os._exit(0)" + _ZERO,
    "raw_float": _WRITE + "os.write(3, frame(b'[[\"value\",3.0],[\"value\",6.0]]')); os._exit(0)" + _ZERO,
    "too_many": _WRITE + "os.write(3, frame(b'[' + b','.join([b'[\"value\",0]'] * 9) + b']')); os._exit(0)" + _ZERO,
    "one_for_all": _WRITE + "os.write(3, frame(b'[[\"value\",3]]')); os._exit(0)" + _ZERO,
    "first_is_object": _WRITE + "os.write(3, frame(b'[[\"value\",[\"object\",0]],[\"value\",6]]')); "
                                "os._exit(0)" + _ZERO,
    "a_type": _WRITE + "os.write(3, frame(b'[[\"value\",[\"type\",\"int\"]],[\"value\",6]]')); os._exit(0)" + _ZERO,
    "bad_int": _WRITE + "os.write(3, frame(b'[[\"value\",[\"int\",3]],[\"value\",[\"int\"]]]')); os._exit(0)" + _ZERO,
    "dict_value": _WRITE + "os.write(3, frame(b'[[\"value\",{}],[\"value\",{}]]')); os._exit(0)" + _ZERO,
    "unhashable_key": _WRITE + "os.write(3, frame(b'[[\"value\",[\"dict\",[[\"list\"],1]]],[\"value\",6]]')); "
                               "os._exit(0)" + _ZERO,
    "huge_int_text": _WRITE + "os.write(3, frame(b'[[\"value\",' + b'9' * 100000 + b'],[\"value\",6]]')); "
                              "os._exit(0)" + _ZERO,
    "deep_json": _WRITE + "os.write(3, frame(b'[' * 500000)); os._exit(0)" + _ZERO,
    "colliding_keys": _WRITE + "keys = b','.join(b'[\"int\",\"%x\"]' % (n * (2**61 - 1)) for n in "
                               "range(30000))\nos.write(3, frame(b'[[\"value\",[\"set\",' + keys + "
                               "b']],[\"value\",6]]')); os._exit(0)" + _ZERO,
    "colliding_floats": _WRITE + "keys = b','.join(b'[\"float\",\"%s\"]' % float(n * 2**61).hex().encode() for n in "
                                 "range(20000))\nos.write(3, frame(b'[[\"value\",[\"set\",' + keys + "
                                 "b']],[\"value\",6]]')); os._exit(0)" + _ZERO,
    "nested_reason": _WRITE + "os.write(3, frame(b'[[\"raised\",' + b'[' * 985 + b']' * 985 + b'],[\"value\",6]]')); "
                              "os._exit(0)" + _ZERO,
    "not_utf8": _WRITE + "os.write(3, frame(b'\\xff\\xfe\\x00')); os._exit(0)" + _ZERO,
    "torn_length": "import os\nos.write(3, b'\\0\\0'); os._exit(0)" + _ZERO,
    "torn_body": "import os\nos.write(3, b'\\0\\0\\0\\x20[[\"value\",3]'); os._exit(0)" + _ZERO,
    "torn_and_silent": "import os\nos.write(3, b'\\0\\0\\0\\x20[')\nwhile True: pass" + _ZERO,
    "length_of_4_gib": "import os\nos.write(3, b'\\xff\\xff\\xff\\xff'); os._exit(0)" + _ZERO,
    "flood": "import os\nwhile True: os.write(3, b'\\0\\0\\0\\1x' * 9999)" + _ZERO,
    "flood_zeros": "import os\nwhile True: os.write(3, bytes(1 << 16))" + _ZERO,
    "ready_again": "import os\nos.write(3, b'\\0' * 5); os._exit(0)" + _ZERO,
    "close_channel": "import os\nos.close(3)" + _ZERO,
    "close_all_and_wait": "import os\nos.closerange(0, 100)\nwhile True: pass" + _ZERO,
    "shutdown_channel": "import _socket\n_socket.socket(fileno=3).shutdown(2)" + _ZERO,
    "descriptor_passing": "import _socket\ns = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, "
                          "3)\ns.sendmsg([b'x'], [(1, 1, b'\\3\\0\\0\\0')])" + _ZERO,
    "channel_as_file": "f = open(3, 'wb', closefd=False)\nf.write(b'x')" + _ZERO,
    "dup_channel": "import os\nos.dup2(3, 0); os.dup2(3, 1)" + _ZERO,
    "print_answers": "print('[[\"value\",3],[\"value\",6]]', flush=True)" + _ZERO,
}

# Using it all up.
USING_UP = {
    "loop": "while True: pass" + _ZERO,
    "loop_in_call": "def add(a, b):\n    while True: pass",
    "loop_in_c": "def add(a, b): return sum(iter(int, 1))",
    "loop_in_pow": "def add(a, b): return 9 ** 9 ** 9",
    "loop_in_re": "import re\ndef add(a, b): return re.match(r'(a+)+$', 'a' * 60 + 'b')",
    "loop_in_range": "def add(a, b): return 10**30 in iter(range(10**31))",
    "loop_ignoring_signals": "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    "
                             "except (OSError, ValueError): pass\nwhile True: pass" + _ZERO,
    "loop_swallowing": "def add(a, b):\n    while True:\n        try:\n            while True: pass\n        except "
                       "BaseException: pass",
    "sleep": "import time\ndef add(a, b): time.sleep(3600)",
    "lock": "import threading\ndef add(a, b):\n    lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "memory": "def add(a, b): return len(bytearray(1 << 36))",
    "memory_by_parts": "x = []\nwhile True: x.append(bytearray(1 << 22))" + _ZERO,
    "memory_doubling": "def add(a, b):\n    x = 'x'\n    while True: x += x",
    "memory_in_c": "def add(a, b): return [0] * (1 << 40)",
    "long_answer": "def add(a, b): return 'x' * (1 << 21)",
    "long_int": "def add(a, b): return 1 << (1 << 24)",
    "long_list": "def add(a, b): return [0] * (1 << 20)",
    "long_error": "def add(a, b): raise ValueError('x' * (1 << 24))",
    "print_flood": "def add(a, b):\n    for _ in range(300): print('x' * (1 << 20))\n    return 0",
    "stderr_flood": "import sys\ndef add(a, b):\n    while True: sys.stderr.write('x' * 65536)",
    "disk": "def add(a, b):\n    with open('CANARY/big', 'wb') as f:\n        while True: f.write(bytes(1 << 20))",
    "temporary_file": "import tempfile\ndef add(a, b): return tempfile.NamedTemporaryFile(delete=False).name",
    "fork_bomb": "import os\nwhile True: os.fork()" + _ZERO,
    "fork_quietly": "import os\ndef add(a, b):\n    while True:\n        try: os.fork()\n        except OSError: "
                    "return 0",
    "fork_via_libc": "import ctypes\nlib = ctypes.CDLL(None)\ndef add(a, b): return [lib.fork(), lib.vfork()]",
    "threads": "import threading, time\ndef add(a, b):\n    for _ in range(1000): threading.Thread(target=time.sleep, "
               "args=(60,)).start()",
    "threads_low": "import _thread\ndef add(a, b):\n    while True: _thread.start_new_thread(int, ())",
    "subprocess": "import subprocess\ndef add(a, b): return int(subprocess.check_output(['echo', '3']))",
    "system": "import os\ndef add(a, b): return os.system('touch CANARY/system')",
    "popen": "import os\ndef add(a, b): return os.popen('echo 3').read()",
    "posix_spawn": "import os\ndef add(a, b): return os.posix_spawn('/bin/sleep', ['sleep', '60'], {})",
    "multiprocessing": "import multiprocessing\ndef add(a, b): return multiprocessing.Pool(2).map(int, [3])",
}

# Reaching out of the process.
REACHING = {
    "kill_victim": "import os\nos.kill(VICTIM, 9)" + _ZERO,
    "kill_parent": "import os\nos.kill(os.getppid(), 9)" + _ZERO,
    "stop_parent": "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)" + _ZERO,
    "kill_group": "import os\nos.killpg(os.getpgid(os.getppid()), 9)" + _ZERO,
    "kill_own_group": "import os\nos.kill(0, 9)" + _ZERO,
    "kill_all": "import os\nos.kill(-1, 9)" + _ZERO,
    "kill_via_libc": "import ctypes\nctypes.CDLL(None).kill(VICTIM, 9)" + _ZERO,
    "kill_init": "import os\nos.kill(1, 9)" + _ZERO,
    "sigqueue": "import ctypes, os\nctypes.CDLL(None).sigqueue(os.getppid(), 9, 0)" + _ZERO,
    "pidfd": "import os, signal\nsignal.pidfd_send_signal(os.pidfd_open(VICTIM), 9)" + _ZERO,
    "ptrace_parent": "import ctypes, os\ndef add(a, b): return ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0)",
    "ptrace_victim": "import ctypes\ndef add(a, b): return ctypes.CDLL(None).ptrace(16, VICTIM, 0, 0)",
    "process_vm_readv": "import ctypes\ndef add(a, b): return ctypes.CDLL(None).process_vm_readv(VICTIM, 0, 0, 0, 0, "
                        "0)",
    "priority": "import os\nos.setpriority(os.PRIO_PROCESS, os.getppid(), 19)" + _ZERO,
    "limits_of_parent": "import resource, os\nresource.prlimit(os.getppid(), resource.RLIMIT_CPU, (0, 0))" + _ZERO,
    "raise_own_limits": "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (100, "
                        "100))\nopen('CANARY/limits', 'w')" + _ZERO,
    "affinity_of_parent": "import os\nos.sched_setaffinity(os.getppid(), {0})" + _ZERO,
    "async_signals": "import fcntl, os\nfcntl.fcntl(3, fcntl.F_SETOWN, os.getppid()); fcntl.fcntl(3, 10, "
                     "9)\nfcntl.fcntl(3, fcntl.F_SETFL, 0o20000)" + _ZERO,
    "async_signals_via_libc": "import ctypes, os\nl = ctypes.CDLL(None)\nl.fcntl(3, 8, os.getppid()); l.fcntl(3, 10, "
                              "9); l.fcntl(3, 4, 0o20000)" + _ZERO,
    "tcp": "import _socket\ns = _socket.socket(); s.connect(('127.0.0.1', 22))" + _ZERO,
    "udp": "import _socket\ns = _socket.socket(2, 2); s.sendto(b'x', ('127.0.0.1', 9))" + _ZERO,
    "unix_socket": "import _socket\ns = _socket.socket(1); s.bind('CANARY/socket')" + _ZERO,
    "abstract_socket": "import _socket\ns = _socket.socket(1); s.bind(b'\\0retort')" + _ZERO,
    "raw_socket": "import _socket\ns = _socket.socket(17, 3)" + _ZERO,
    "listen": "import _socket\ns = _socket.socket(); s.bind(('', 0)); s.listen()" + _ZERO,
    "resolve": "import _socket\n_socket.getaddrinfo('localhost', 80)" + _ZERO,
    "io_uring": "import ctypes\ndef add(a, b): return ctypes.CDLL(None).syscall(425, 8, "
                "ctypes.create_string_buffer(120))",
    "int_80": "import ctypes\nl = ctypes.CDLL(None)\nl.mmap.restype = ctypes.c_void_p\np = l.mmap(0, 4096, 7, 0x22, "
              "-1, 0)\ncode = bytes.fromhex('b801000000cd80c3')\nctypes.memmove(p, code, "
              "len(code))\nctypes.CFUNCTYPE(ctypes.c_int)(p)()" + _ZERO,
    "x32": "import ctypes\nctypes.CDLL(None).syscall(0x40000000 + 2, b'CANARY/x32', 0o101, 0o666)" + _ZERO,
    "make_code": "import ctypes\nl = ctypes.CDLL(None)\nb = "
                 "ctypes.create_string_buffer(8192)\nl.mprotect(ctypes.c_void_p((ctypes.addressof(b) + 4095) & "
                 "~4095), 4096, 7)" + _ZERO,
    "setuid": "import os\nos.setuid(0)\nos.seteuid(0)" + _ZERO,
    "chroot": "import os\nos.chroot('/')" + _ZERO,
    "unshare": "import ctypes\ndef add(a, b): return ctypes.CDLL(None).unshare(0x10000000)",
    "mount": "import ctypes\ndef add(a, b): return ctypes.CDLL(None).mount(b'x', b'CANARY', b'tmpfs', 0, 0)",
    "bpf": "import ctypes\ndef add(a, b): return ctypes.CDLL(None).syscall(321, 0, 0, 0)",
    "userfault": "import ctypes\ndef add(a, b): return ctypes.CDLL(None).syscall(323, 0)",
    "keyring": "import ctypes\ndef add(a, b): return ctypes.CDLL(None).syscall(250, 0, -3, 1)",
    "memory_file": "import os\nos.execv(os.memfd_create('x'), ['x'])" + _ZERO,
    "shared_memory": "import ctypes\ndef add(a, b): return ctypes.CDLL(None).shmget(1, 4096, 0o1666)",
    "message_queue": "import ctypes\ndef add(a, b): return ctypes.CDLL(None).msgget(1, 0o1666)",
    "hostname": "import ctypes\ndef add(a, b): return ctypes.CDLL(None).sethostname(b'retort', 6)",
    "clock": "import time\ntime.clock_settime(time.CLOCK_REALTIME, 0)" + _ZERO,
    "reboot": "import ctypes\ndef add(a, b): return ctypes.CDLL(None).reboot(0)",
}

# Files.
# What asyncio knows of the world outside.
WAITING = {
    "connection": "import asyncio\nasync def f(): await asyncio.open_connection('127.0.0.1', 80)\n"
                  "asyncio.run(f())" + _ZERO,
    "server": "import asyncio\nasync def f(): await asyncio.start_server(print, '127.0.0.1', 0)\n"
              "asyncio.run(f())" + _ZERO,
    "unix_server": "import asyncio\nasync def f(): await asyncio.start_unix_server(print, 'CANARY/socket')\n"
                   "asyncio.run(f())" + _ZERO,
    "subprocess": "import asyncio\nasync def f(): await asyncio.create_subprocess_shell('touch CANARY/shell')\n"
                  "asyncio.run(f())" + _ZERO,
    "its_socket": "import asyncio\ns = asyncio.base_events.socket.socketpair()" + _ZERO,
    "its_subprocess": "import asyncio\nasyncio.base_events.subprocess.run(['touch', 'CANARY/run'])" + _ZERO,
    "its_selector": "import asyncio\nasyncio.selector_events.selectors.DefaultSelector()" + _ZERO,
    "unix_loop": "import asyncio\nfrom asyncio import unix_events\nloop = unix_events._UnixSelectorEventLoop()\n"
                 "loop.run_until_complete(asyncio.sleep(0))" + _ZERO,
    "a_thread": "import asyncio\nasyncio.base_events.threading.Thread(target=print).start()" + _ZERO,
    "an_executor": "import asyncio\nasyncio.base_events.concurrent.futures.ThreadPoolExecutor().submit(print).result("
                   ")" + _ZERO,
    "for_ever": "import asyncio\nasyncio.run(asyncio.Event().wait())" + _ZERO,
    "a_descriptor": "import asyncio, os\nloop = asyncio.new_event_loop()\n"
                    "loop.add_reader(3, os.write, 3, b'[[\"value\",3]]')" + _ZERO,
}

# Threads, which are in the same walls.
_THREAD = "import os, threading, time\ndef start(f, **options): threading.Thread(target=f, **options).start()\n"
THREADING = {
    "ten_thousand": _THREAD + "def add(a, b):\n    for _ in range(10000): start(lambda: time.sleep(60))\n    return 0",
    "ten_thousand_daemons": _THREAD + "def add(a, b):\n    for _ in range(10000):\n        try: start(lambda: "
                            "time.sleep(60), daemon=True)\n        except RuntimeError: pass\n    return 0",
    "small_stacks": _THREAD + "threading.stack_size(32768)\ndef add(a, b):\n    for n in range(10000):\n        try: "
                    "start(lambda: time.sleep(60))\n        except RuntimeError: return 0",
    "least_stacks": _THREAD + "threading.stack_size(1 << 20)\ndef add(a, b):\n    n = 0\n    while True:\n        try: "
                    "start(lambda: time.sleep(60)); n += 1\n        except RuntimeError: break\n    while n > 600: "
                    "pass\n"
                    "    return 0",
    "thread_that_starts_threads": _THREAD + "def breed():\n    while True:\n        try: start(breed)\n        except "
                                  "RuntimeError: pass\nbreed()" + _ZERO,
    "hangs": _THREAD + "def loop():\n    while True: pass\ndef add(a, b):\n    t = threading.Thread(target=loop); "
             "t.start(); t.join()",
    "hangs_beside": _THREAD + "def loop():\n    while True: pass\nstart(loop)" + _ZERO,
    "deadlock": _THREAD + "l = threading.Lock()\ndef add(a, b):\n    with l:\n        t = threading.Thread("
                "target=l.acquire); t.start(); t.join()",
    "exits": _THREAD + "def add(a, b):\n    start(lambda: os._exit(0)); time.sleep(9)",
    "raises_to_the_main_thread": "import _thread\ndef add(a, b):\n    _thread.interrupt_main()\n    return 0",
    "forks": _THREAD + "def add(a, b):\n    start(os.fork); time.sleep(0.1); return 0",
    "opens": _THREAD + "def add(a, b):\n    start(lambda: open('CANARY/thread', 'w')); time.sleep(0.1); return 0",
    "kills": _THREAD + "def add(a, b):\n    start(lambda: os.kill(VICTIM, 9)); time.sleep(0.1); return 0",
    "answers_beside": _THREAD + "import struct\ndef say():\n    while True: os.write(3, struct.pack('>I', 13) + b"
                      "'[[\"value\",3]]')\nstart(say)" + _ZERO,
    "floods_beside": _THREAD + "def say():\n    while True: os.write(3, bytes(1 << 16))\nstart(say)" + _ZERO,
    "memory": _THREAD + "x = []\ndef eat():\n    while True: x.append(bytearray(1 << 20))\n"
              "for _ in range(8): start(eat)" + _ZERO,
    "profiles": _THREAD + "threading.setprofile(lambda *_: os._exit(0))\nstart(int)" + _ZERO,
    "executor": "from concurrent.futures import ThreadPoolExecutor\ndef add(a, b):\n    with ThreadPoolExecutor(10**6) "
                "as e: list(e.map(int, range(10**6)))\n    return 0",
    "processes": "from concurrent.futures import ProcessPoolExecutor\ndef add(a, b):\n    with ProcessPoolExecutor() "
                 "as "
                 "e: return e.submit(int, 3).result()",
    "raw_clone": "import ctypes\ndef add(a, b):\n    stack = ctypes.create_string_buffer(1 << 16)\n    return "
                 "ctypes.CDLL(None).syscall(56, 0x3d0f00, ctypes.addressof(stack) + 65000, 0, 0, 0)",
    "raw_fork": "import ctypes\ndef add(a, b): return [ctypes.CDLL(None).syscall(n, f, 0, 0, 0, 0) for n in (56, 57, "
                "58, "
                "435) for f in (0, 17, 0x10000011, 0x100, 0x4111)] and 0",
}

FILES = {
    "write": "open('CANARY/new', 'w').write('x')" + _ZERO,
    "append": "open('CANARY/kept', 'a').write('x')" + _ZERO,
    "create_empty": "import os\nos.mknod('CANARY/node')" + _ZERO,
    "create_via_libc": "import ctypes\nctypes.CDLL(None).creat(b'CANARY/creat', 0o666)" + _ZERO,
    "unlink": "import os\nos.unlink('CANARY/kept')" + _ZERO,
    "unlink_via_libc": "import ctypes\nctypes.CDLL(None).unlink(b'CANARY/kept')" + _ZERO,
    "rename": "import os\nos.rename('CANARY/kept', 'CANARY/gone')" + _ZERO,
    "truncate": "import os\nos.truncate('CANARY/kept', 0)" + _ZERO,
    "truncate_via_libc": "import ctypes\nctypes.CDLL(None).truncate(b'CANARY/kept', 0)" + _ZERO,
    "link": "import os\nos.link('CANARY/kept', 'CANARY/link')" + _ZERO,
    "symlink": "import os\nos.symlink('/etc/passwd', 'CANARY/symlink')" + _ZERO,
    "mkdir": "import os\nos.makedirs('CANARY/folder/inner')" + _ZERO,
    "rmtree": "def remove(p):\n    import os\n    for e in os.scandir(p): os.remove(e.path)\nremove('CANARY')" + _ZERO,
    "chmod": "import os\nos.chmod('CANARY', 0)" + _ZERO,
    "times": "import os\nos.utime('CANARY/kept', (0, 0))" + _ZERO,
    "fifo": "import os\nos.mkfifo('CANARY/fifo')" + _ZERO,
    "attribute": "import os\nos.setxattr('CANARY/kept', 'user.x', b'x')" + _ZERO,
    "bytecode": "import py_compile\npy_compile.compile('CANARY/kept', 'CANARY/kept.pyc')" + _ZERO,
    "chdir": "import os\nos.chdir('CANARY'); open('relative', 'w')" + _ZERO,
}

KINDS = {
    "ending": ENDING, "lying": LYING, "patching": PATCHING, "looking": LOOKING, "forging": FORGING,
    "using_up": USING_UP, "reaching": REACHING, "files": FILES, "waiting": WAITING, "threading": THREADING,
}  # fmt: skip

PROGRAMS = {f"{kind}/{name}": program for kind, programs in KINDS.items() for name, program in programs.items()}
