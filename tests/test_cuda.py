"""ONNX Runtime on a GPU, as far as it can be proven without one: it never takes the processor in silence.

The processor's real ONNX Runtime plays the one that falls back; an imitation with CUDA in its list plays what
only a GPU machine can show.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from edge import cuda_runtime
from edge.cuda_runtime import PROVIDER, CudaRuntime
from edge.detector import file_of, open_runtime, runtime_name
from edge.engine_choice import open_fastest
from edge.errors import BundleError, UsageError
from edge.gpu import GpuError
from tests.builders import BLUR, bundle_at
from tests.engines import tensor

pytestmark = pytest.mark.skipif(
    PROVIDER in onnxruntime.get_available_providers(), reason="this ONNX Runtime has CUDA"
)
Failure = onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException


class Session:
    """A session on an imagined GPU: the processor's, which says it is CUDA's and fails when told to."""

    def __init__(self, real: Any, providers: list[str], room: int) -> None:
        self._real, self._providers, self._room = real, providers, room

    def get_providers(self) -> list[str]:
        return self._providers

    def get_inputs(self) -> Any:
        return self._real.get_inputs()

    def run(self, outputs: Any, inputs: Any) -> Any:
        self._room -= 1
        if self._room < 0:
            raise Failure("BFCArena::AllocateRawInternal Failed to allocate memory for 1073741824 bytes")
        return self._real.run(outputs, inputs)


class Imagined:
    """onnxruntime with CUDA. `offers`: what a session runs on; `room`: for so many runs."""

    def __init__(self, offers: list[str], room: int = 1000, refuses: str = "") -> None:
        self._offers, self._room, self._refuses = offers, room, refuses
        self.asked: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.capi, self.ExecutionMode = onnxruntime.capi, onnxruntime.ExecutionMode

    def get_available_providers(self) -> list[str]:
        return [PROVIDER, "CPUExecutionProvider"]

    def set_default_logger_severity(self, severity: int) -> None:
        self.severity = severity

    def SessionOptions(self) -> Any:  # noqa: N802 - its name
        return onnxruntime.SessionOptions()

    def InferenceSession(self, model: bytes, options: Any, **words: Any) -> Session:  # noqa: N802 - its name
        fallback = options.get_session_config_entry("session.disable_cpu_ep_fallback")
        self.asked.append(({"disable_cpu_ep_fallback": fallback}, words))
        if self._refuses:
            raise Failure(self._refuses)
        real = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        return Session(real, self._offers, self._room)


def imagine(monkeypatch: pytest.MonkeyPatch, gpu: Imagined) -> Imagined:
    monkeypatch.setitem(sys.modules, "onnxruntime", gpu)
    monkeypatch.setattr(cuda_runtime, "_missing", lambda _: "")  # its library loads
    return gpu


def test_an_onnx_runtime_without_cuda_is_one_sentence_that_says_what_to_install(tmp_path: Path) -> None:
    bundle = bundle_at(tmp_path / "b")
    with pytest.raises(UsageError, match=r"needs an ONNX Runtime with CUDA.*pip install 'skerry\[gpu\]'"):
        open_runtime(bundle, "fp32@cuda")
    with pytest.raises(UsageError, match="needs an ONNX Runtime with CUDA"):
        open_fastest(bundle, "fp32@cuda", tmp_path / "e")


def test_a_real_session_that_falls_back_in_silence_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a broken CUDA looks like: it is in the list, and the session runs on the processor."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [PROVIDER, "CPUExecutionProvider"])
    with pytest.warns(UserWarning, match=PROVIDER), pytest.raises(GpuError) as refused:
        CudaRuntime(BLUR.read_bytes(), "b/model")
    assert re.search(
        r"cannot run on the GPU: .*providers_cuda\.so: cannot open .*; see that", str(refused.value)
    )
    assert "\n" not in str(refused.value)


def test_the_processor_is_forbidden_for_every_part_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = imagine(monkeypatch, Imagined([PROVIDER, "CPUExecutionProvider"]))
    with CudaRuntime(BLUR.read_bytes(), "model") as ours:
        assert gpu.asked == [
            ({"disable_cpu_ep_fallback": "1"}, {"providers": [PROVIDER], "enable_fallback": 0})
        ]
        assert ours(tensor(1)).shape == (1, 3, 124, 124)
        assert gpu.severity == 4  # ONNX Runtime's own lines would stand beside the sentence


def test_cuda_that_pip_installed_is_loaded_first_and_what_is_not_there_is_not_spoken_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu, loaded = imagine(monkeypatch, Imagined([PROVIDER])), list[int]()

    def preload() -> None:
        loaded.append(len(gpu.asked))
        print("Failed to load libcudnn.so.9: cannot open shared object file")

    gpu.preload_dlls = preload  # type: ignore[attr-defined]
    with CudaRuntime(BLUR.read_bytes(), "model"):
        assert loaded == [0], "before the session that needs it"
    assert capsys.readouterr().out == ""


def test_a_session_that_says_it_is_on_the_processor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    imagine(monkeypatch, Imagined(["CPUExecutionProvider"]))
    with pytest.raises(GpuError, match="would take the processor; see that driver, CUDA and cuDNN"):
        CudaRuntime(BLUR.read_bytes(), "model")


@pytest.mark.parametrize("room", [0, 1])
def test_a_gpu_without_memory_is_no_fault_of_the_bundle(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """At once, or at the first frame: one run is made before the runtime counts."""
    imagine(monkeypatch, Imagined([PROVIDER], room=room))
    with pytest.raises(GpuError, match=r"failed on the GPU: BFCArena.*Failed to allocate memory"):
        CudaRuntime(BLUR.read_bytes(), "model")(tensor(1))


def test_a_driver_that_does_not_load_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    imagine(
        monkeypatch, Imagined([PROVIDER], refuses="CUDA failure 35: driver is insufficient\n  at line 12")
    )
    with pytest.raises(
        GpuError, match=r"model cannot run on the GPU: CUDA failure 35: driver is insufficient; see that"
    ):
        CudaRuntime(BLUR.read_bytes(), "model")


@pytest.mark.parametrize("data", [b"no model at all", BLUR.read_bytes()[:-30]])
def test_a_file_that_is_no_model_is_the_bundles_fault(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    imagine(monkeypatch, Imagined([PROVIDER]))
    with pytest.raises(BundleError, match="is not a model that ONNX Runtime can load"):
        CudaRuntime(data, "model")


def test_a_gpu_that_gives_nan_is_not_flown(monkeypatch: pytest.MonkeyPatch) -> None:
    imagine(monkeypatch, Imagined([PROVIDER]))
    monkeypatch.setattr(Session, "run", lambda *_: [np.full((1, 3, 124, 124), np.nan, np.float32)])
    with pytest.raises(GpuError, match="NaN"):
        CudaRuntime(BLUR.read_bytes(), "model")


def test_a_variant_names_its_runtime_and_its_file() -> None:
    assert runtime_name("fp16@cuda") == "ONNX Runtime on CUDA"
    assert [file_of(name) for name in ("fp16@cuda", "int8-cpu@openvino", "fp32")] == [
        "fp16",
        "int8-cpu",
        "fp32",
    ]
    assert (
        file_of("fp32@cud") == "fp32@cud"
    )  # no runtime of ours: the bundle says that it has no such variant
