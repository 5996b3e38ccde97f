"""The head of a clip model -> ONNX in float, proven equal to PyTorch: it is too small to gain by less."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from edge.clips import ClipSpec, Extract, normalised
from edge.runtimes import OnnxRuntime
from export.parity import ParityError
from export.to_onnx import converted
from train.mil import Head

GIVEN, LOGIT = "features", "logit"
_WINDOWS = 64
_NEAR = 1e-4  # of the spread of the logits, or of 1 where that is less


def head_onnx(head: Head, spec: ClipSpec, windows: NDArray[np.float32] | None = None) -> bytes:
    """1 x history x width -> one logit. Raises ParityError where it says other than PyTorch, on `windows` or
    random ones."""
    given = spec.history, spec.extractor.width
    data = converted(head.eval(), torch.zeros(1, *given), LOGIT, GIVEN)
    shown = random_windows(spec) if windows is None else windows
    truth = np.array([asked(head)(one[None]) for one in shown]).ravel()
    with OnnxRuntime(data, "the head") as runtime:
        said = np.array([runtime(one[None]) for one in shown]).ravel()
    apart = float(np.abs(said - truth).max())
    if not apart <= _NEAR * max(1.0, float(truth.std())):
        raise ParityError(
            f"the head says other in ONNX than in PyTorch, by up to {apart:.3g}: export it with another "
            "version of PyTorch"
        )
    return data


def asked(head: Head) -> Extract:
    """PyTorch as it is, behind the same call as a runtime."""

    def run(window: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(head(torch.from_numpy(window)).numpy(), np.float32)

    return run


def random_windows(spec: ClipSpec) -> NDArray[np.float32]:
    """As long as features are: whatever the head does with them shows."""
    shape = _WINDOWS, spec.history, spec.extractor.width
    return normalised(np.random.default_rng(0).normal(size=shape).astype(np.float32), spec.normalise)
