"""The filter itself, run by a small interpreter of BPF, on both architectures and all numbers."""

import re
import struct
from pathlib import Path

import pytest

from rewards.sandbox import seccomp
from rewards.sandbox.landlock import attributes
from rewards.sandbox.syscalls import ARCHITECTURES, Architecture

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h")
}


def decide(program: bytes, number: int, audit: int, *arguments: int) -> int:
    """What the kernel would return for a call."""
    data = struct.pack("=IIQ6Q", number, audit, 0, *arguments, *[0] * (6 - len(arguments)))
    code = list(struct.iter_unpack("=HBBI", program))
    at, value = 0, 0
    while True:
        operation, if_true, if_false, constant = code[at]
        at += 1
        match operation:
            case 0x20:
                (value,) = struct.unpack_from("=I", data, constant)
            case 0x06:
                return int(constant)
            case 0x15 | 0x35 | 0x45:
                holds = {0x15: value == constant, 0x35: value >= constant, 0x45: bool(value & constant)}[operation]
                at += if_true if holds else if_false


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_only_the_list_is_allowed(name: str) -> None:
    architecture = ARCHITECTURES[name]
    program = seccomp.program(architecture)
    allowed = {number for number in range(2048) if decide(program, number, architecture.audit) == seccomp.ALLOW}
    assert allowed == set(architecture.allowed.values())
    others = {number: decide(program, number, architecture.audit) for number in range(2048) if number not in allowed}
    assert others.pop(architecture.clone3) == seccomp.NOT_THERE
    assert set(others.values()) == {seccomp.REFUSE}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_thread_is_all_that_can_be_started(name: str) -> None:
    architecture = ARCHITECTURES[name]
    program = seccomp.program(architecture)
    for flags in seccomp.THREAD:
        assert decide(program, architecture.clone, architecture.audit, flags) == seccomp.ALLOW
        for bit in range(32):  # one flag more or less: no process, no namespace, nothing traced or shared otherwise
            changed = flags ^ 1 << bit
            decision = decide(program, architecture.clone, architecture.audit, changed)
            assert decision == (seccomp.ALLOW if changed in seccomp.THREAD else seccomp.REFUSE)
    for flags in (0, 17, 0x1200011, 0x4111, 0x10000000 | seccomp.THREAD[0]):  # fork, vfork, a namespace
        assert decide(program, architecture.clone, architecture.audit, flags) == seccomp.REFUSE


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_stacks_are_large(name: str) -> None:
    architecture = ARCHITECTURES[name]
    program = seccomp.program(architecture)
    call, private, stack = architecture.allowed["mmap"], 0x22, 0x20022
    for size in (1, 0x9000, seccomp.LEAST_STACK - 1, seccomp.LEAST_STACK, 1 << 23, 1 << 32, (1 << 32) + 1):
        assert decide(program, call, architecture.audit, 0, size, 3, private) == seccomp.ALLOW
        decision = decide(program, call, architecture.audit, 0, size, 0, stack)
        assert decision == (seccomp.ALLOW if size >= seccomp.LEAST_STACK else seccomp.REFUSE)
        assert decide(program, call, architecture.audit, 0, size, 7, stack) == seccomp.REFUSE


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_no_memory_becomes_executable(name: str) -> None:
    architecture = ARCHITECTURES[name]
    program = seccomp.program(architecture)
    for call in ("mmap", "mprotect"):
        for protection in range(16):
            decision = decide(program, architecture.allowed[call], architecture.audit, 0, 0, protection)
            assert decision == (seccomp.REFUSE if protection & 4 else seccomp.ALLOW)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_other_conventions_end_the_process(name: str) -> None:
    architecture = ARCHITECTURES[name]
    program = seccomp.program(architecture)
    for audit in (
        0x40000003, 0x40000028, *(other.audit for other in ARCHITECTURES.values() if other is not architecture)
    ):
        assert decide(program, architecture.allowed["read"], audit) == seccomp.KILL
    if architecture.x32 is not None:
        assert {
            decide(program, architecture.x32 + number, architecture.audit) for number in range(600)
        } == {seccomp.KILL}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_numbers_are_the_headers(name: str) -> None:
    header = HEADERS[name]
    if not header.is_file():
        pytest.skip(f"no {header}")
    found: dict[str, int] = {}
    for line in header.read_text().splitlines():
        match = re.match(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", line)
        if match:
            found.setdefault(match[1], int(match[2]))
    architecture: Architecture = ARCHITECTURES[name]
    started = {"clone": architecture.clone, "clone3": architecture.clone3}
    for call, number in {**architecture.allowed, **architecture.ours, **started}.items():
        assert found[call] == number, call


def test_landlock_forbids_all_that_an_abi_knows() -> None:
    assert [len(attributes(abi)) for abi in range(1, 8)] == [8, 8, 8, 16, 16, 24, 24]
    assert struct.unpack("=Q", attributes(1)) == (0x1FFF,)
    assert struct.unpack("=QQ", attributes(4)) == (0x7FFF, 3)
    assert struct.unpack("=QQQ", attributes(7)) == (0xFFFF, 3, 3)
