"""A model's ranges on normal clips, measured once; then any mixture of integers and float in a moment."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto, version_converter
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from edge.runtimes import Tensor
from export.static_integers import SYMMETRIC, TENSORRT_OPERATORS, Pictures, plain
from export.tensorrt_rules import LEAST_OPSET, UnfitError

PROCESSOR_OPERATORS = ("Conv", "Relu", "Clip", "MaxPool", "Concat")
_OPSET = 17  # to which an older graph is raised: it has one scale for each output channel


class Ranges:
    """Of the maps of one model. Raises UnfitError for a graph that no quantiser takes."""

    def __init__(self, data: bytes, normal: Iterable[Tensor]) -> None:
        self.model = _prepared(data)
        every = {*PROCESSOR_OPERATORS, *TENSORRT_OPERATORS}
        with tempfile.TemporaryDirectory(prefix="skerry-") as folder:
            file = Path(folder) / "model.onnx"
            onnx.save(self.model, file)
            calibrator = create_calibrator(
                file,
                sorted(every),
                augmented_model_path=str(Path(folder) / "augmented.onnx"),
                calibrate_method=CalibrationMethod.MinMax,
            )
            calibrator.collect_data(Pictures(normal, self.model.graph.input[0].name))
            self._ranges = calibrator.compute_data()

    def for_processor(self, in_float: Collection[str]) -> bytes:
        """Unsigned inputs, signed weights. What only passes integers on does so as integers."""
        left = {*in_float, *_between_floats(self.model, in_float)}
        return self._drafted(left, PROCESSOR_OPERATORS, QuantType.QUInt8, {})

    def for_tensorrt(self, in_float: Collection[str]) -> bytes:
        """As `export.static_integers.for_tensorrt`."""
        options = {**SYMMETRIC, "OpTypesToExcludeOutputQuantization": list(TENSORRT_OPERATORS)}
        return self._drafted(set(in_float), TENSORRT_OPERATORS, QuantType.QInt8, options)

    def _drafted(
        self,
        in_float: Collection[str],
        operators: Collection[str],
        activations: QuantType,
        options: dict[str, Any],
    ) -> bytes:
        model = ModelProto()
        model.CopyFrom(self.model)
        level = logging.root.level
        logging.root.setLevel(logging.ERROR)
        try:
            quantiser = QDQQuantizer(
                *(model, True, False, QuantType.QInt8, activations, self._ranges),
                *([], sorted(in_float), list(operators), options),
            )
            quantiser.quantize_model()
            quantiser.model.topological_sort()
        finally:
            logging.root.setLevel(level)
        return plain(quantiser.model.model)


def _prepared(data: bytes) -> ModelProto:
    """Every step has a name of its own, as quantisers ask of it, and the operators have scales by channel."""
    model = onnx.load_from_string(data)
    version = max(
        (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0
    )
    if version < LEAST_OPSET:
        try:
            model = version_converter.convert_version(model, _OPSET)
        except (RuntimeError, ValueError) as error:
            raise UnfitError(
                f"the extractor's operator set {version} cannot be raised to {_OPSET}: {error}"
            ) from None
    taken: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{number}"
        taken.add(node.name)
    return model


def _between_floats(model: ModelProto, in_float: Collection[str]) -> set[str]:
    """Steps without weights that something in float goes into: integers there would only be roundings."""
    integers: set[str] = set()
    floats: set[str] = set()
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Conv":
            if node.name not in in_float:
                integers.update(node.output)
        elif node.op_type in PROCESSOR_OPERATORS:
            given = {name for name in node.input if name and name not in constants}
            if given <= integers:
                integers.update(node.output)
            else:
                floats.add(node.name)
    return floats
