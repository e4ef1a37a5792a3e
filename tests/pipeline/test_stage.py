"""What `pipeline.stage` promises to plug-ins stays where it is, whatever moves behind it."""

import pytest

from pipeline import stage
from pipeline.contract import errors, fields, work
from pipeline.contract import stage as contract

PROMISED = {
    contract: ("Stage", "Context", "Metrics", "Asks"),
    fields: ("ArtifactType", "Input", "ModelInput", "DatasetInput", "ReportInput", "NotInFingerprint", "PlugIn"),
    errors: ("StageError", "Stopped"),
    work: ("Work", "Trained", "Drawn"),
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in PROMISED.items() for name in names])
def test_a_promised_name_is_the_contracts(module: object, name: str) -> None:
    assert getattr(stage, name) is getattr(module, name)
    assert name in stage.__all__
