"""Engine and daemon as processes: built by the command, flown by `skerry run`, and told in its status.

The GPU is simulated: two modules on PYTHONPATH stand where TensorRT and CUDA would be.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.bundle import load_bundle, write_bundle
from edge.events import Event, Status, parse
from tests.broker import Listener, Mosquitto, until
from tests.builders import flying_bundle, folder_of, patrol_pictures

pytestmark = [pytest.mark.broker, pytest.mark.slow]

SHARED = """
import os
from edge.simgpu import simulated
toolkit = simulated(os.environ["SIMULATED_TENSORRT"])
"""
TENSORRT = "import sys, simulated_nvidia\nsys.modules[__name__] = simulated_nvidia.toolkit.trt\n"
CUDA = "import sys, simulated_nvidia\nsys.modules[__name__] = simulated_nvidia.toolkit.cudart\n"


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated bundle that has a model for engines, beside the stand-ins and a patrol."""
    folder = tmp_path_factory.mktemp("flown")
    normal = folder_of(folder / "normal", patrol_pictures("." * 140, seed=0))
    bundle = flying_bundle(folder / "bundle", normal)
    half = {"fp16": "model.fp16.onnx"}
    manifest = bundle.manifest.model_copy(update={"variants": {**bundle.manifest.variants, **half}})
    write_bundle(bundle.folder, manifest, {"model.fp16.onnx": bundle.model("fp32")})
    folder_of(folder / "patrol", patrol_pictures("." * 10 + "X" * 8 + "." * 12))
    for name, text in {
        "simulated_nvidia.py": SHARED,
        "tensorrt.py": TENSORRT,
        "cuda/__init__.py": "",
        "cuda/bindings/__init__.py": "",
        "cuda/bindings/runtime.py": CUDA,
    }.items():
        (folder / "nvidia" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "nvidia" / name).write_text(text)
    return folder


@pytest.fixture
def listener(mosquitto: Mosquitto) -> Iterator[Listener]:
    listening = Listener(mosquitto.start().port).wait()
    yield listening
    listening.close()


def skerry(flown: Path, tensorrt: str, *words: object) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(flown / "nvidia"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "skerry", *map(str, words)],
        env={**os.environ, "PYTHONPATH": path, "SIMULATED_TENSORRT": tensorrt},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def fly(flown: Path, tensorrt: str, state: Path, mosquitto: Mosquitto, listener: Listener) -> tuple[str, int]:
    """One patrol; what its birth says of the runtime, and how many incidents began."""
    before = len(listener.got)
    options = ("--folder-fps", 2, "--replay", "fast", "--broker", mosquitto.uri)
    words = ("run", "--source", flown / "patrol", "--bundle", flown / "bundle", "--state-dir", state)
    done = skerry(flown, tensorrt, *words, *options)
    assert done.returncode == 0, done.stderr
    until(lambda: any(b'"offline"' in payload for _, payload, _ in listener.got[before:]), 10)
    told = [parse(topic, payload) for topic, payload, _ in listener.got[before:]]
    births = [one for one in told if isinstance(one, Status) and one.state == "online"]
    begun = [one for one in told if isinstance(one, Event) and one.phase.value == "begin"]
    return str(births[0].runtime), len(begun)


def test_the_engine_that_the_command_built_flies_and_another_tensorrt_makes_the_daemon_fall_back_and_say_so(
    flown: Path, tmp_path: Path, mosquitto: Mosquitto, listener: Listener
) -> None:
    state = tmp_path / "state"
    built = skerry(flown, "10.3.0", "engine", "build", flown / "bundle", "--engines", state / "engines")
    assert built.returncode == 0, built.stderr
    assert built.stdout.startswith("fp16 engine 1 for TensorRT 10.3.0 on Orin built in ")
    assert fly(flown, "10.3.0", state, mosquitto, listener) == ("TensorRT 10.3.0, fp16 engine 1", 1)
    runtime, begun = fly(flown, "11.4.0.106", state, mosquitto, listener)
    assert runtime.startswith(
        "ONNX Runtime, fp32; engine was built for TensorRT 10.3.0 on Orin, this is 11.4"
    )
    assert begun == 1
    assert load_bundle(flown / "bundle").calibration().variant == "fp32"
    rebuilt = skerry(flown, "11.4.0.106", "engine", "build", flown / "bundle", "--engines", state / "engines")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert fly(flown, "11.4.0.106", state, mosquitto, listener)[0] == "TensorRT 11.4.0.106, fp16 engine 2"
    assert fly(flown, "10.3.0", state, mosquitto, listener)[0] == "TensorRT 10.3.0, fp16 engine 1"
