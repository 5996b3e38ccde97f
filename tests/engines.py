"""Bundles, caches and proofs for the tests of TensorRT engines on a simulated GPU."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np

from edge import tensorrt_builder, tensorrt_runtime
from edge.bundle import ModelBundle, write_bundle
from edge.gpu import Toolkit
from edge.runtimes import OnnxRuntime, Tensor
from edge.simgpu import SimGpu, simulated
from edge.tensorrt_builder import BuildOptions
from tests.builders import BLUR, EVIDENCE, bundle_at, evidence_bundle_at

VARIANTS = {"fp32": "model.fp32.onnx", "fp16": "model.fp16.onnx", "int8-trt": "model.int8-trt.onnx"}


def gpu_bundle_at(path: Path, model: bytes | None = None, integers: bytes | None = None) -> ModelBundle:
    """Three variants. Each file has its own digest: protobuf ignores the empty field that is appended.

    `integers`: what the int8 variant computes, where not the same."""
    data = model or BLUR.read_bytes()
    files = files_of(data)
    if integers is not None:
        files[VARIANTS["int8-trt"]] = integers
    manifest = bundle_at(path).manifest.model_copy(update={"variants": VARIANTS})
    return write_bundle(path, manifest, files)


def blur_of(height: int, width: int) -> bytes:
    """The blur of another window than 15 x 15: its two attributes, and the pads that they need, as bytes."""
    pads = bytes([0x40, height // 2, 0x40, width // 2])
    window = BLUR.read_bytes().replace(b"\x40\x0f\x40\x0f", bytes([0x40, height, 0x40, width]))
    return window.replace(b"\x40\x07" * 4, pads * 2)


def gpu_pairs_at(path: Path) -> ModelBundle:
    manifest = evidence_bundle_at(path).manifest.model_copy(update={"variants": VARIANTS})
    return write_bundle(path, manifest, files_of(EVIDENCE.read_bytes()))


def files_of(data: bytes) -> dict[str, bytes]:
    """Field 6 of ModelProto is its doc_string."""
    notes = [bytes([0x32, len(variant)]) + variant.encode() for variant in VARIANTS]
    return {name: data + note for name, note in zip(VARIANTS.values(), notes, strict=True)}


def tensor(seed: int, shape: tuple[int, ...] = (1, 3, 124, 124)) -> Tensor:
    return np.random.default_rng(seed).random(shape, np.float32)


def engine_for(toolkit: Toolkit, model: bytes | None = None) -> bytes:
    data = model or BLUR.read_bytes()
    return tensorrt_builder.build_engine(data, "blur", toolkit, BuildOptions()).engine


def prove(
    version: str, builder: ModuleType = tensorrt_builder, runtime: ModuleType = tensorrt_runtime
) -> None:
    """Build, run two frames, give everything back: as TensorRT demands it, and with the right numbers."""
    gpu = SimGpu()
    toolkit, model = simulated(version, gpu), BLUR.read_bytes()
    built = builder.build_engine(model, "blur", toolkit, builder.BuildOptions(workspace_mb=32))
    strongly_typed = 1 << int(toolkit.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert f"create_network {strongly_typed}" in gpu.record, "the network is not strongly typed"
    builder.build_engine(model, "blur", toolkit, builder.BuildOptions(), built.timing_cache)
    assert gpu.record.count("timing cache kept") == 1
    frames = [tensor(1), tensor(2)]
    with runtime.TensorRtRuntime(built.engine, "blur", toolkit) as engine:
        taken = gpu.used
        outputs = [engine(frame) for frame in frames]
        assert gpu.used == taken, "memory is taken once, when the engine is opened"
    with OnnxRuntime(model, "blur") as truth:
        for frame, output in zip(frames, outputs, strict=True):
            np.testing.assert_allclose(output, truth(frame), rtol=1e-6)
    assert (gpu.used, gpu.pinned, gpu.streams) == (0, {}, {}), "something was not given back"
    assert gpu.record[-3:] == ["~IExecutionContext", "~ICudaEngine", "~Runtime"]
