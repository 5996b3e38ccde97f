"""What a flight with a clip model says of its pace when it starts."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path

import pytest

from edge import clip_pace
from edge.clip_pace import Pace
from edge.flight import choose, open_flight
from edge.mqtt import BrokerSettings
from edge.settings import Settings
from tests.clips import calibrated, clip_bundle, clip_spec, extractor_spec


def said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> tuple[str, list[str]]:
    """In `status`, and as warnings."""
    bundle = calibrated(clip_bundle(tmp_path / "b", clip_spec(extractor_spec("clip"))))
    settings = Settings(
        bundle=bundle.folder,
        source="sim://",
        broker=BrokerSettings(uri="mqtt://127.0.0.1"),
        state_dir=tmp_path,
    )
    with caplog.at_level(logging.INFO, "skerry"), ExitStack() as stack:
        why = open_flight(choose(settings), settings, stack).why
    return why, [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


def test_a_clip_model_that_cannot_keep_up_says_so_with_the_stride_that_it_could_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        clip_pace, "measure_pace", lambda bundle, _: Pace(bundle.manifest.clip.extractor, 2.0)
    )
    why, warnings = said(tmp_path, caplog)
    assert "the clip model cannot keep up here: 2000 ms a clip each 0.5 s, 400% of the time" in why
    assert any("export it with a stride of 16 frames or more, it has 2" in one for one in warnings)


def test_one_that_keeps_up_warns_of_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    why, warnings = said(tmp_path, caplog)
    assert "the clip model keeps up" in why
    assert not any("keep up" in one for one in warnings)
