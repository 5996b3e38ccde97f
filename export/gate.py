"""One network, its held-out pictures and what PyTorch says of them: asked of each variant in turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from torch import nn

from edge.bundle import Branch, ModelBundle, Parity
from edge.errors import UsageError
from edge.openvino_runtime import MARK, OpenVinoRuntime
from edge.runtimes import OnnxRuntime, Tensor
from edge.yardsticks import Yardsticks
from export.held_out import WINDOW, HeldOut, Model
from export.parity import Levels, Reference, Tolerance, measure, reference, strain

# Not for a processor: run here just as written, node by node. ONNX Runtime's optimiser takes the roundings of
# half precision out again, and has answered wrongly for files that have quantisers besides.
FOR_A_GPU = ("fp16", "int8-trt")


@dataclass(frozen=True, eq=False)
class Gate:
    pictures: HeldOut
    truth: Reference
    tolerance: Tolerance

    @classmethod
    def on(
        cls, pictures: HeldOut, network: nn.Module, tolerance: Tolerance, levels: Levels | None = None
    ) -> Gate:
        return cls(pictures, reference(pictures, network, levels), tolerance)

    def judge(self, variant: str, data: bytes) -> Parity:
        """Raises ParityError for NaN or infinity."""
        if variant in FOR_A_GPU:
            return measure(self.pictures, self.truth, as_written(data), variant, self.tolerance)
        make = OpenVinoRuntime if variant.endswith(MARK) else OnnxRuntime
        with make(data, f"the {variant} model") as runtime:
            return measure(self.pictures, self.truth, runtime, variant, self.tolerance)

    def strain(self, variant: str, data: bytes) -> float:
        return strain(self.judge(variant, data), self.tolerance)


def as_written(data: bytes) -> Model:
    """The model on a processor without any optimisation: slow, and what the file says."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(tensor: Tensor) -> Tensor:
        return np.asarray(session.run(None, {name: tensor})[0], np.float32)

    return run


def levels_of(bundle: ModelBundle) -> Levels:
    """The evidence at which a calibrated bundle alarms and draws boxes, at a place of middling habits.

    Raises UsageError for one that does not look at single windows of the same size as the gate.
    """
    if bundle.manifest.kind == "clip":
        return Levels(bundle.calibration().threshold, bundle.calibration().box_level)
    branches = bundle.manifest.scoring.branches
    number = next((n for n, branch in enumerate(branches) if _is_compared(branch)), None)
    if number is None:
        raise UsageError(f"--calibrated {bundle.folder}: none of its branches is what the gate compares")
    calibration = bundle.calibration()
    scale = Yardsticks.from_bytes(bundle.statistics(), len(branches)).scales[number]
    length = float(np.median(scale.high)) - scale.typical
    return Levels(
        scale.typical + calibration.threshold * length, scale.typical + calibration.box_level * length
    )


def _is_compared(branch: Branch) -> bool:
    return branch.source in ("error", "head") and branch.window == WINDOW
