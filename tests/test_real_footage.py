"""Real footage from training to the ground, each step as a person types it, through a real broker.

The trainings are short, so only what is far from chance is asserted: what these runs find in full, and what
they miss, is in docs/real-footage.md.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.events import Box, Event, Message, Phase, PictureMessage, Status, parse
from edge.frames import Picture
from edge.recordings import open_recording
from tests.broker import Listener, Mosquitto, until
from tests.conftest import footage

pytest.importorskip("torch")  # the whole way begins with training

pytestmark = [pytest.mark.data, pytest.mark.broker, pytest.mark.slow]

HELD_OUT = ("08", "14", "15", "16")  # Ped2's training clips that calibration sees and training does not
# Per hour, about as few as so little footage supports: a minute, 6 and 7 seconds.
PED2_ALARMS, CAR_ALARMS, WALK_ALARMS = 20, 130, 115
CALM = {"OMP_WAIT_POLICY": "passive"}  # spinning threads would take the other core of a small machine


def skerry(*arguments: object) -> str:
    """One command to its end; returns what it printed."""
    done = subprocess.run(_command(arguments), capture_output=True, text=True, env={**os.environ, **CALM})
    assert done.returncode == 0, done.stderr
    return done.stdout


def _command(arguments: Iterable[object]) -> list[str]:
    return [sys.executable, "-m", "skerry", *map(str, arguments)]


def learned(out: Path, train: list[Path], calibrate: list[Path], rates: tuple[object, ...], block: float,
            alarms: float, *options: object) -> Path:  # fmt: skip
    """Footage -> calibrated bundle."""
    checkpoint, bundle = out / "cae.ckpt", out / "bundle"
    normal = [word for path in train for word in ("--normal", path)]
    skerry("train", "cae", *normal, "--out", checkpoint, "--recipe", "quick", *options)
    skerry("export", checkpoint, "--out", bundle)
    unseen = [word for path in calibrate for word in ("--normal", path)]
    skerry("calibrate", bundle, *unseen, "--block", block, "--false-alarms-per-hour", alarms, *rates)
    return bundle


@dataclass(frozen=True)
class Told:
    """What one flight told the ground."""

    messages: list[Message]

    @property
    def events(self) -> list[Event]:
        return [message for message in self.messages if isinstance(message, Event)]

    @property
    def hot(self) -> list[Event]:
        return [event for event in self.events if event.phase is not Phase.END and event.boxes]

    @property
    def begins(self) -> list[Event]:
        return [event for event in self.events if event.phase is Phase.BEGIN]

    def adds_up(self) -> None:
        """Numbers without a gap, an end for every begin, both pictures of every incident."""
        assert [event.sequence for event in self.events] == list(range(1, len(self.events) + 1))
        ends = [event.id for event in self.events if event.phase is Phase.END]
        assert [event.id for event in self.begins] == ends
        pictures = {(m.id, m.kind) for m in self.messages if isinstance(m, PictureMessage)}
        assert pictures == {(id, kind) for id in ends for kind in ("snapshot", "heatmap")}


@dataclass(frozen=True)
class Ground:
    mosquitto: Mosquitto
    listener: Listener
    folder: Path

    def flight(self, name: str, bundle: Path, source: Path, *options: object) -> Told:
        """Replay `source` as drone `name`; returns when the ground has heard its end."""
        state = self.folder / f"state-{name}"
        skerry(
            "run", "--bundle", bundle, "--source", source, "--replay", "fast", "--broker", self.mosquitto.uri,
            "--drone", name, "--state-dir", state, *options,
        )  # fmt: skip
        until(lambda: _ended(self._of(name)), what=f"{name} to say that it stopped")
        return Told(self._of(name))

    def _of(self, name: str) -> list[Message]:
        base = f"skerry/v1/site/{name}/"
        return [parse(topic, payload) for topic, payload, _ in self.listener.got if topic.startswith(base)]


def _ended(messages: list[Message]) -> bool:
    return any(isinstance(m, Status) and (m.state, m.reason) == ("offline", "stopped") for m in messages)


@pytest.fixture
def ground(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Ground]:
    listener = Listener(mosquitto.start().port).wait()
    yield Ground(mosquitto, listener, tmp_path)
    listener.close()


# --- UCSD Ped2: bicycles and carts among walkers

PED2_RATES = ("--fps", 10, "--folder-fps", 10)


@pytest.fixture(scope="module")
def ped2_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = footage()
    assert folder is not None
    clips = sorted((folder / "ucsd_ped2" / "training" / "frames").iterdir())
    train = [clip for clip in clips if clip.name not in HELD_OUT]
    unseen = [clip for clip in clips if clip.name in HELD_OUT]
    return learned(tmp_path_factory.mktemp("ped2"), train, unseen, PED2_RATES, 5, PED2_ALARMS, "--epochs", 12)


def masks(data: Path, clip: str) -> list[NDArray[np.bool_]]:
    files = sorted((data / "ucsd_ped2" / "testing" / "masks" / clip).iterdir())
    return [np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)) > 0 for file in files]


def touches(box: Box, mask: NDArray[np.bool_]) -> bool:
    return bool(mask[box.y : box.y + box.height, box.x : box.x + box.width].any())


def test_bicycles_and_carts_among_walkers_reach_the_ground_with_a_box_on_them(
    data: Path, ped2_bundle: Path, ground: Ground
) -> None:
    truth = {clip: masks(data, clip) for clip in ("04", "05", "07")}
    on, elsewhere, hot = 0, 0, 0
    for clip, own in truth.items():
        frames = data / "ucsd_ped2" / "testing" / "frames" / clip
        told = ground.flight(f"ped2-{clip}", ped2_bundle, frames, *PED2_RATES, "--incidents-update", 1)
        told.adds_up()
        first = next(number for number, mask in enumerate(own) if mask.any())
        assert told.begins
        assert clip != "04" or told.begins[0].frame >= first  # its normal beginning raised nothing
        others = [mask for name, mask in truth.items() if name != clip]
        for event in told.hot:
            hot += 1
            on += touches(event.boxes[0], own[event.frame])
            elsewhere += any(touches(event.boxes[0], other[event.frame % len(other)]) for other in others)
    assert on >= 0.6 * hot, (on, hot)
    assert on >= 2 * elsewhere, (on, elsewhere)  # by chance: the same boxes on the other clips' intruders


def test_the_ground_saves_an_incident_as_snapshot_and_heat_map(
    data: Path, ped2_bundle: Path, ground: Ground, tmp_path: Path
) -> None:
    saved = tmp_path / "saved"
    with subprocess.Popen(
        _command(("watch", "--broker", ground.mosquitto.uri, "--save", saved, "--json")),
        stdout=subprocess.DEVNULL,
    ) as watch:
        until((saved / "events.jsonl").exists, what="skerry watch to be there")
        frames = data / "ucsd_ped2" / "testing" / "frames" / "04"
        told = ground.flight("ped2-saved", ped2_bundle, frames, *PED2_RATES)
        kept = saved / "site" / "ped2-saved"
        wanted = {f"{e.id}-{end}" for e in told.begins for end in ("snapshot.jpg", "heatmap.png")}
        until(lambda: {file.name for file in kept.glob("[!.]*")} >= wanted, what=f"{wanted} in {kept}")
        watch.send_signal(signal.SIGTERM)
        watch.wait(10)
    snapshot = cv2.imread(str(kept / f"{told.begins[0].id}-snapshot.jpg"))
    heat = cv2.imread(str(kept / f"{told.begins[0].id}-heatmap.png"), cv2.IMREAD_GRAYSCALE)
    assert snapshot is not None
    assert heat is not None
    assert snapshot.shape == (240, 360, 3)
    assert heat.max() > 128  # the box level


# --- a camera straight down on tarmac, where cars pass

CAR_FPS = ("--fps", 12.5, "--folder-fps", 12.5)
EMPTY = {"train": [(0, 52), (120, 148)], "calibrate": [(150, 176), (248, 298)], "quiet": [(298, 308)]}
# Frames in which a car is in the picture, and the columns in which the first one enters, seen by eye.
CROSSINGS = [((53, 115), (280, 470)), ((176, 246), (100, 280)), ((308, 350), (150, 330))]


def stretches(video: Path, ranges: list[tuple[int, int]], out: Path) -> list[Path]:
    """Frames [first, last) of a video, each range in a folder of its own."""
    folders = [out / f"{first:03}-{last:03}" for first, last in ranges]
    for folder in folders:
        folder.mkdir(parents=True)
    with open_recording(video) as frames:
        for frame in frames:
            for folder, (first, last) in zip(folders, ranges, strict=True):
                if first <= frame.index < last:
                    assert cv2.imwrite(str(folder / f"{frame.index:04}.png"), frame.image)
    return folders


def test_each_crossing_of_cars_is_one_incident_and_the_empty_tarmac_is_none(
    data: Path, ground: Ground, tmp_path: Path
) -> None:
    video = data / "clips" / "intel_car-detection.mp4"
    cut = {name: stretches(video, ranges, tmp_path / name) for name, ranges in EMPTY.items()}
    bundle = learned(tmp_path, cut["train"], cut["calibrate"], CAR_FPS, 1, CAR_ALARMS,
                     *CAR_FPS, "--epochs", 40)  # fmt: skip
    assert ground.flight("quiet", bundle, cut["quiet"][0], *CAR_FPS).events == []
    told = ground.flight("cars", bundle, video, *CAR_FPS, "--incidents-cool-down", 0.8)
    told.adds_up()
    assert len(told.begins) == len(CROSSINGS)
    for event, (frames, columns) in zip(told.begins, CROSSINGS, strict=True):
        assert frames[0] <= event.frame < frames[1]
        box = event.boxes[0]
        assert columns[0] <= box.x + box.width / 2 <= columns[1]


# --- a hovering drone over a field, one walker

# Not the rate of the camera, which is unknown: at 25 a second the footage is too short to calibrate on.
WALK_FPS = ("--fps", 2, "--folder-fps", 2)
WALKER = ((750, 905), (570, 540))  # column and row of the walker's middle in frames 50 and 99, seen by eye


def without_walker(images: list[Picture]) -> list[Picture]:
    """Where the walker is, the median of the pictures; he is the largest thing darker than it."""
    median = np.median(np.stack(images), axis=0).astype(np.uint8)
    done = []
    for image in images:
        darker = cv2.blur((median.astype(np.float32) - image).max(axis=2), (25, 25))
        row, column = np.unravel_index(darker.argmax(), darker.shape)
        hole = np.zeros(image.shape[:2], np.float32)
        cv2.ellipse(hole, (int(column), int(row) + 5), (65, 85), 0, 0, 360, 1.0, -1)
        soft = cv2.GaussianBlur(hole, (31, 31), 0)[..., None]
        done.append((image * (1 - soft) + median * soft).astype(np.uint8))
    return done


def test_a_walker_seen_from_a_hovering_drone_is_one_incident_with_the_hottest_box_on_him(
    data: Path, ground: Ground, tmp_path: Path
) -> None:
    with open_recording(data / "uav_walker" / "images") as recording:
        images = [frame.image for frame in recording]
    folders = {name: tmp_path / name for name in ("train", "calibrate", "patrol")}
    empty = without_walker(images[:50])
    for (name, folder), part in zip(folders.items(), (empty[:35], empty[35:], images[50:]), strict=True):
        folder.mkdir()
        for number, image in enumerate(part):
            assert cv2.imwrite(str(folder / f"{number:03}.png"), image), name
    bundle = learned(
        tmp_path, [folders["train"]], [folders["calibrate"]], WALK_FPS, 1, WALK_ALARMS, *WALK_FPS,
        "--epochs", 70,
    )  # fmt: skip
    told = ground.flight("walker", bundle, folders["patrol"], *WALK_FPS)
    told.adds_up()
    assert len(told.begins) == 1
    for event in told.hot:
        along = event.frame / 49
        column, row = (first + along * (last - first) for first, last in WALKER)
        box = event.boxes[0]
        assert box.x <= column <= box.x + box.width
        assert box.y <= row <= box.y + box.height
