"""Devices by name, and this machine."""

import pytest

from pipeline.contract.errors import CommandError
from pipeline.costs.devices import DEVICES, parse
from pipeline.costs.machine import libraries, this_machine


@pytest.mark.parametrize(("text", "found"), [
    ("8xh100", (8, "h100")), ("h100", (1, "h100")), ("this", (1, "this")), ("2xA100-80GB", (2, "a100-80gb")),
])
def test_devices_are_counted_and_named(text: str, found: tuple[int, str]) -> None:
    assert parse(text) == found


@pytest.mark.parametrize(("text", "said"), [
    ("8xh10", "--on 8xh10: there is no device 'h10'; did you mean 'h100'?"),
    ("0xh100", "--on 0xh100: give one device at least"),
    ("2xthis", "--on 2xthis: this machine is one"),
    ("", "--on : there is no device ''; there are "),
    ("8 x h100", "--on 8 x h100: there is no device '8 x h100'; "),
])
def test_what_is_no_device_is_told(text: str, said: str) -> None:
    with pytest.raises(CommandError) as caught:
        parse(text)
    assert str(caught.value).startswith(said)


def test_devices_are_faster_in_half_precision() -> None:
    assert all(one.bfloat16 > one.float32 and not one.processor for one in DEVICES.values())


def test_this_machine_is_measured() -> None:
    found = this_machine(1)
    assert min(found.memory, found.float32, found.bfloat16, found.bandwidth) > 1e6
    assert found.price == 0


def test_a_process_with_torch_is_larger_than_one_with_nothing_more() -> None:
    assert 100e6 < libraries([]) < 2e9


def test_libraries_that_are_not_there_are_told() -> None:
    with pytest.raises(CommandError, match="No module named 'no_such_module'"):
        libraries(["no_such_module"])
