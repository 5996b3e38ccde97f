from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge.clock import FakeClock
from edge.decoding import Entries
from edge.doctor import examine, examine_source, how_far
from edge.errors import CameraError, FootageError
from edge.gstreamer import Plant
from tests.filming import film, frames_in
from tests.rtsp_server import Manners, RtspServer

PLAIN = Plant(in_opencv=False, has=lambda _: False)
JETSON = Plant(in_opencv=True, has=lambda _: True)


def machine(plant: Plant = PLAIN, *, synced: bool = True, folder: Path = Path()) -> dict[str, str]:
    return {said.what: said.found for said in examine(plant, FakeClock(is_synced=synced), folder)}


def source(uri: str | Path, plant: Plant = PLAIN) -> dict[str, str]:
    return {said.what: said.found for said in examine_source(str(uri), 2, plant, FakeClock())}


def test_the_machine_is_told_as_it_is(tmp_path: Path) -> None:
    told = machine(folder=tmp_path / "not" / "there" / "yet")
    assert "av " in told["versions"]
    assert "numpy " in told["versions"]
    assert "CPUExecutionProvider" in told["ONNX Runtime"]
    assert told["GStreamer"] == "not in this OpenCV"
    assert told["disk"].endswith(f"GB free at {tmp_path}")
    assert not (tmp_path / "not").exists()


def test_a_clock_that_nothing_disciplines_is_said() -> None:
    assert machine()["clock"] == "synchronised"
    assert machine(synced=False)["clock"].startswith("not synchronised")
    assert machine(JETSON)["GStreamer"] == "in OpenCV"


def test_a_runtime_that_cannot_be_imported_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    told = machine()
    assert told["ONNX Runtime"].startswith("not usable")
    assert told["TensorRT"].startswith("cannot be imported")


@pytest.mark.parametrize(
    ("at_s", "said"),
    [
        ([0, 0.5, 1, 1.5], "key frames only, and not more than are wanted: h264 at 30"),
        ([0, 1, 2, 3], "from each key frame up to the last picture wanted before the next"),
        ([0], "up to the last picture wanted after a key frame"),
        ([], "every frame, converting only those looked at"),
    ],
)
def test_how_far_a_stream_is_decoded_follows_from_its_key_frames(at_s: list[float], said: str) -> None:
    assert how_far("h264", 30, Entries(bool(at_s), at_s, 6.0), 2).startswith(said)


def test_a_recording_is_looked_at(tmp_path: Path) -> None:
    told = source(film(tmp_path / "card.mp4"))
    assert told["decodes"] == (
        "key frames only, and not more than are wanted: h264 at 30 frames a second, a key frame each 0.5 s"
    )
    assert "left out for a model that sees a shrunk picture" in told["loop filter"]
    assert "kept" in source(film(tmp_path / "long.mp4", options=["-g", "30"]))["loop filter"]
    assert "loop filter" not in source(film(tmp_path / "old.avi", options=["-c:v", "mjpeg"]))
    assert "folder" in source(frames_in(tmp_path / "clip"))["way"]
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(FootageError):
        source(tmp_path / "text.mp4")


def test_early_looks_are_told_where_they_spare_decoding(tmp_path: Path) -> None:
    def told(every: int) -> str:
        options = ["-g", str(every), "-sc_threshold", "0"]
        return source(film(tmp_path / f"{every}.mp4", seconds=5, options=options)).get("early looks", "")

    assert told(30).startswith("up to 0.1 s where less is decoded so: 13 of 30 instead of 16, for a model")
    assert told(60).startswith("up to 0.1 s where less is decoded so: 43 of 60 instead of 46, for a model")
    assert told(14).startswith("up to 0.1 s where less is decoded so, for a model")
    assert told(15) == told(1) == "none: a key frame comes at each look"
    assert told(600) == ""


@pytest.mark.slow
def test_a_network_camera_is_looked_at_and_its_secret_kept(tmp_path: Path) -> None:
    raw = film(tmp_path / "a.h264", seconds=1, options=["-tune", "zerolatency", "-x264-params", "slices=1"])
    with RtspServer(raw, Manners(login="guard:hunter2", fps=150)) as server:
        uri = server.uri("guard:hunter2")
        told = source(uri)
        assert "hunter2" not in str(told)
        assert "PyAV in software" in told["way"]
        assert told["because"] == "OpenCV is built without GStreamer"
        assert "key frames only" in told["in software"]
        assert "nvv4l2decoder" in source(uri, JETSON)["way"]


def test_a_camera_that_cannot_be_watched_here_is_an_error() -> None:
    with pytest.raises(CameraError, match="JetPack"):
        source("csi://0")
    assert "Argus" in source("csi://0", JETSON)["way"]
    lacking = Plant(in_opencv=True, has=lambda _: False)
    assert "no nvarguscamerasrc" in source("csi://0", lacking)["because"]


@pytest.mark.parametrize(
    ("uri", "code"), [("sim://", 0), ("rstp://cam", 2), ("absent.mp4", 2), ("rtsp://127.0.0.1:9/x", 4)]
)
@pytest.mark.slow
def test_the_command_says_it_in_lines_and_in_its_exit_code(uri: str, code: int) -> None:
    line = [sys.executable, "-m", "skerry", "doctor", "--source", uri]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert "versions" in done.stdout
    assert len(done.stderr.splitlines()) == (code != 0)
