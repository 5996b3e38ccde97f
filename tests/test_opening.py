"""How a flight begins: the camera is opened while the model is loaded; whatever fails, nothing stays open."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from edge import daemon
from edge.bundle import ModelBundle
from edge.clock import SystemClock
from edge.errors import BundleError, CameraError
from edge.flight import Chosen
from edge.pipeline import FrameSource
from edge.settings import Settings
from tests.builders import flying_bundle, folder_of, scene


class Camera:
    """Opened once `load` has begun; says whether it was closed."""

    state, skipped, closed = "watching", 0, False

    def due_s(self) -> float:
        return 0.0

    def read(self) -> None:
        return None

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def bundle(tmp_path: Path) -> ModelBundle:
    return flying_bundle(tmp_path / "b", folder_of(tmp_path / "normal", [scene(seed) for seed in range(140)]))


@pytest.fixture
def settings(bundle: ModelBundle, tmp_path: Path) -> Settings:
    return Settings.load({"source": "sim://", "bundle": bundle.folder, "state_dir": tmp_path / "state"})


def opening(settings: Settings, stack: ExitStack) -> FrameSource:
    return daemon._opened(settings, SystemClock(), stack)[1]


def test_the_camera_is_opened_while_the_model_is_loaded_and_closed_at_the_end(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera, loading, opened, load = Camera(), threading.Event(), threading.Event(), daemon.open_flight

    def waits(*_: object, **__: object) -> Camera:
        assert loading.wait(20), "the model is not loaded before the camera is there"
        opened.set()
        return camera

    def loaded(chosen: Chosen, settings: Settings, stack: ExitStack) -> object:
        loading.set()
        assert opened.wait(20), "nor the camera opened after the model"
        return load(chosen, settings, stack)

    monkeypatch.setattr(daemon, "open_source", waits)
    monkeypatch.setattr(daemon, "open_flight", loaded)
    with ExitStack() as stack:
        assert opening(settings, stack) is camera  # type: ignore[comparison-overlap]
        assert not camera.closed
    assert camera.closed


def test_a_model_that_must_not_fly_closes_the_camera_that_was_opened_meanwhile(
    settings: Settings, bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = Camera()
    monkeypatch.setattr(daemon, "open_source", lambda *_, **__: camera)
    (bundle.folder / "model.fp32.onnx").write_bytes(b"spoilt")
    with pytest.raises(BundleError, match="was changed"), ExitStack() as stack:
        opening(settings, stack)
    assert camera.closed


def test_a_camera_that_cannot_be_opened_is_what_the_flight_ends_with(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> Camera:
        raise CameraError("Camera 0 cannot be opened.")

    monkeypatch.setattr(daemon, "open_source", fails)
    with pytest.raises(CameraError, match="Camera 0"), ExitStack() as stack:
        opening(settings, stack)
