"""What the processes of stages are started with."""

import pytest

from pipeline.run import launch

PATIENCE = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"


def test_torchs_launcher_waits_as_long_as_the_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PATIENCE, raising=False)
    assert float(launch.environment()[PATIENCE]) == launch.GRACE
    monkeypatch.setenv(PATIENCE, "7")
    assert launch.environment()[PATIENCE] == "7"  # a user's own goes before
