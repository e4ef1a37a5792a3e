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


def decide(program: bytes, number: int, audit: int, third: int = 0) -> int:
    """What the kernel would return for a call."""
    data = struct.pack("=IIQ6Q", number, audit, 0, 0, 0, third, 0, 0, 0)
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
    others = {decide(program, number, architecture.audit) for number in range(2048)} - {seccomp.ALLOW}
    assert others == {seccomp.REFUSE}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_no_memory_becomes_executable(name: str) -> None:
    architecture = ARCHITECTURES[name]
    program = seccomp.program(architecture)
    for call in ("mmap", "mprotect"):
        for protection in range(16):
            decision = decide(program, architecture.allowed[call], architecture.audit, protection)
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
    for call, number in {**architecture.allowed, **architecture.ours}.items():
        assert found[call] == number, call


def test_landlock_forbids_all_that_an_abi_knows() -> None:
    assert [len(attributes(abi)) for abi in range(1, 8)] == [8, 8, 8, 16, 16, 24, 24]
    assert struct.unpack("=Q", attributes(1)) == (0x1FFF,)
    assert struct.unpack("=QQ", attributes(4)) == (0x7FFF, 3)
    assert struct.unpack("=QQQ", attributes(7)) == (0xFFFF, 3, 3)
