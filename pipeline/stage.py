"""What a stage of your own is made of: `from pipeline.stage import Stage, Context, ModelInput`.

The contract itself is in `pipeline/contract/`; this module keeps the one name that plug-ins were promised.
"""

from pipeline.contract.dataset import rows_of
from pipeline.contract.errors import StageError, Stopped
from pipeline.contract.fields import (
    ArtifactType,
    DatasetInput,
    Input,
    ModelInput,
    NotInFingerprint,
    PlugIn,
    ReportInput,
)
from pipeline.contract.stage import Asks, Context, Known, Metrics, Stage
from pipeline.contract.work import Drawn, Trained, Work

__all__ = [
    "ArtifactType", "Asks", "Context", "DatasetInput", "Drawn", "Input", "Known", "Metrics", "ModelInput",
    "NotInFingerprint", "PlugIn", "ReportInput", "Stage", "StageError", "Stopped", "Trained", "Work", "rows_of",
]
