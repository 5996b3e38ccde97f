"""The patrol simulator: what it promises of its pictures, truth and telemetry."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edge.errors import UsageError
from train.intruders import KINDS, SEEN_S
from train.recording import TELEMETRY
from train.simulate_cli import _kinds, _size, simulate
from train.simulator import NOTE, FlightPlan, Simulation, Simulator, simulate_flights, truth_of

SMALL = FlightPlan(width=160, height=90, fps=4, seconds=30, seed=3, normals=1, patrols=1, intruders=2)


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return Simulator(SMALL)


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return simulate_flights(SMALL, tmp_path_factory.mktemp("flown") / "out")


def truth(simulation: Simulation) -> dict[str, Any]:
    path = simulation.patrol[0].truth
    assert path is not None
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def decoded(path: Path) -> list[np.ndarray[Any, Any]]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def test_every_flight_leaves_its_files_and_nothing_else(flown: Simulation) -> None:
    names = {path.name for path in flown.manifest.parent.iterdir()}
    assert names == {
        "normal-01.mp4",
        "normal-01.telemetry.csv",
        "patrol-01.mp4",
        "patrol-01.telemetry.csv",
        "patrol-01.truth.json",
        "simulation.json",
    }


def test_the_video_has_the_size_rate_and_length_of_the_plan(flown: Simulation) -> None:
    with av.open(str(flown.patrol[0].video)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 160, 90)
        assert stream.average_rate == SMALL.fps
        keys = [frame.key_frame for frame in container.decode(video=0)]
    assert len(keys) == SMALL.frames
    assert all(keys[:: SMALL.fps])


def test_the_manifest_names_seed_options_and_that_scores_do_not_compare(flown: Simulation) -> None:
    manifest = json.loads(flown.manifest.read_text())
    assert manifest["plan"]["seed"] == SMALL.seed
    assert FlightPlan(**{**manifest["plan"], "kinds": tuple(manifest["plan"]["kinds"])}) == SMALL
    assert "not comparable" in manifest["note"]
    assert truth(flown)["note"] == NOTE


def test_telemetry_has_a_row_per_frame_along_the_route(flown: Simulation) -> None:
    with flown.patrol[0].telemetry.open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == TELEMETRY
    assert [int(row["frame"]) for row in rows] == list(range(SMALL.frames))
    latitude, longitude = (np.array([float(row[k]) for row in rows]) for k in ("latitude", "longitude"))
    north = np.diff(latitude) * 111_320
    east = np.diff(longitude) * 111_320 * np.cos(np.radians(latitude[0]))
    metres_per_second = np.hypot(north, east) * SMALL.fps
    assert 8 < np.median(metres_per_second) < 18
    ahead = np.degrees(np.arctan2(east, north)) - [float(row["heading_deg"]) for row in rows[1:]]
    assert np.abs((ahead + 180) % 360 - 180).max() < 35
    assert all(70 < float(row["altitude_m"]) < 90 for row in rows)


def test_the_same_seed_gives_the_same_truth_telemetry_and_raw_frames(
    flown: Simulation, simulator: Simulator, tmp_path: Path
) -> None:
    again = simulate_flights(SMALL, tmp_path / "again")
    for one, other in zip(flown.flights, again.flights, strict=True):
        assert one.telemetry.read_bytes() == other.telemetry.read_bytes()
    assert json.dumps(truth(flown)) == json.dumps(truth(again))
    first = list(islice(simulator.scene("patrol", 1).frames(), 12))
    second = list(islice(Simulator(SMALL).scene("patrol", 1).frames(), 12))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_another_seed_gives_another_world(simulator: Simulator) -> None:
    other = Simulator(replace(SMALL, seed=4))
    assert not np.array_equal(simulator.world.elevation, other.world.elevation)
    assert not np.array_equal(
        next(simulator.scene("normal", 1).frames()), next(other.scene("normal", 1).frames())
    )


def test_the_video_shows_the_raw_frames(flown: Simulation, simulator: Simulator) -> None:
    raw = list(islice(simulator.scene("patrol", 1).frames(), 8))
    for ours, theirs in zip(raw, decoded(flown.patrol[0].video), strict=False):
        assert np.abs(ours.astype(int) - theirs).mean() < 12


def test_flights_share_the_route_and_differ_by_small_deviations_and_light(simulator: Simulator) -> None:
    normal, patrol = simulator.scene("normal", 1), simulator.scene("patrol", 1)
    apart = np.linalg.norm(normal.poses.looks_at - patrol.poses.looks_at, axis=1)
    assert 0 < np.median(apart) < 60  # of 1920 units across the picture
    assert apart.max() < 160
    lights = normal.flight.exposure(normal.seconds) / patrol.flight.exposure(patrol.seconds)
    assert 0 < np.abs(lights - 1).max() < 0.4
    pictures = [next(scene.frames()).astype(int) for scene in (normal, patrol)]
    assert not np.array_equal(*pictures)


def test_without_shake_light_and_noise_two_flights_see_the_same_land(simulator: Simulator) -> None:
    still = Simulator(replace(SMALL, shake=0, light=0, noise=0, intruders=0), simulator.world)
    shots = [next(still.scene("normal", n).frames()).astype(int) for n in (1, 2)]
    dry = shots[0][..., 2] > shots[0][..., 0] + 30  # the sea, which moves, is never red
    assert dry.mean() > 0.05
    assert np.abs(shots[0] - shots[1])[dry].mean() < 2


def test_the_sea_moves_from_frame_to_frame(simulator: Simulator) -> None:
    plan = replace(SMALL, shake=0, light=0, noise=0, intruders=0, fps=60, seconds=8)
    still = Simulator(plan, simulator.world)
    first, second = islice(still.scene("normal", 1).frames(), 2)
    change = np.abs(first.astype(int) - second).mean(axis=2)
    blue = first[..., 0].astype(int) > first[..., 2] + 40
    assert change[blue].mean() > 1
    assert blue.mean() > 0.05


def test_intruders_are_seen_for_a_known_time_with_clean_gaps_between(simulator: Simulator) -> None:
    plan = replace(SMALL, seconds=75, intruders=5, gap_s=5)
    for number in (1, 2, 3, 4):
        content = truth_of(plan, Simulator(plan, simulator.world).scene("patrol", number))
        found = content["intruders"]
        assert [i["track"] for i in found] == [1, 2, 3, 4, 5]
        edges = [edge / plan.fps for i in found for edge in i["touched"]]
        assert edges[0] >= plan.gap_s - 0.5
        assert edges[-1] <= plan.seconds
        assert min(np.diff(edges)[1::2]) >= plan.gap_s - 0.5
        for i in found:
            seen = i["last_s"] - i["first_s"]
            assert SEEN_S[0] - 0.6 <= seen <= SEEN_S[1] + 0.6


def test_boxes_cover_what_changed_against_the_flight_without_intruders(simulator: Simulator) -> None:
    plan = replace(SMALL, width=320, height=180, fps=2, smallest=48)
    scenes = [Simulator(p, simulator.world).scene("patrol", 1) for p in (plan, replace(plan, intruders=0))]
    boxed = {s.frame: s for s in scenes[0].sightings()}
    kinds = {s.kind for s in boxed.values()}
    assert kinds
    for k, (with_it, without) in enumerate(zip(*(s.frames() for s in scenes), strict=True)):
        change = np.abs(with_it.astype(int) - without).max(axis=2)
        if k not in boxed:
            assert change.max() == 0
            continue
        x, y, width, height = boxed[k].extent
        outside = change.copy()
        outside[max(0, y - 2) : y + height + 2, max(0, x - 2) : x + width + 2] = 0
        assert outside.max() == 0
        if boxed[k].box is not None:
            x, y, width, height = boxed[k].box
            assert change[y : y + height, x : x + width].max() > 20


def test_boxes_lie_in_the_picture_and_scale_with_its_width(simulator: Simulator) -> None:
    small = truth_of(SMALL, simulator.scene("patrol", 1))
    plan = replace(SMALL, width=640, height=360)
    large = truth_of(plan, Simulator(plan, simulator.world).scene("patrol", 1))
    for content in (small, large):
        for box in content["boxes"]:
            assert box["x"] >= 0
            assert box["y"] >= 0
            assert box["width"] >= 1
            assert box["height"] >= 1
            assert box["x"] + box["width"] <= content["width"]
            assert box["y"] + box["height"] <= content["height"]
    for one, other in zip(small["intruders"], large["intruders"], strict=True):
        assert other["size"] == pytest.approx(4 * one["size"], abs=0.05)
        assert (one["kind"], one["first_frame"]) == (other["kind"], other["first_frame"])


def test_sizes_and_kinds_stay_within_what_was_asked(simulator: Simulator) -> None:
    plan = replace(SMALL, seconds=75, intruders=6, smallest=50, largest=70, kinds=("boat", "car"))
    found = Simulator(plan, simulator.world).scene("patrol", 1).intruders
    assert {i.kind for i in found} == {"boat", "car"}
    assert all(50 <= i.size <= 70 for i in found)


def test_boats_and_debris_stay_at_sea_and_the_others_ashore(simulator: Simulator) -> None:
    plan = replace(SMALL, seconds=120, intruders=10)
    scene = Simulator(plan, simulator.world).scene("patrol", 1)
    assert {i.kind for i in scene.intruders} == set(KINDS)
    for i in scene.intruders:
        height = simulator.world.height(i.places(np.arange(i.since + 1, i.until - 1, 0.5)))
        assert (height < 0).all() if i.kind in ("boat", "debris") else (height > 0).all()


def test_overlapping_intruders_only_when_asked(simulator: Simulator) -> None:
    plan = replace(SMALL, intruders=8, overlap=True)
    found = Simulator(plan, simulator.world).scene("patrol", 1).intruders
    assert len(found) == 8
    assert any(a.until > b.since for a, b in pairwise(found))


def test_normal_flights_carry_no_intruders(simulator: Simulator) -> None:
    assert simulator.scene("normal", 1).intruders == ()


def test_a_flight_longer_than_a_lap_goes_on_and_shows_each_intruder_once(simulator: Simulator) -> None:
    plan = replace(SMALL, seconds=150, fps=2, intruders=2)
    longer = Simulator(plan, simulator.world)
    assert longer.route.length < longer.speed * plan.seconds
    scene = longer.scene("patrol", 1)
    for i in scene.intruders:
        frames = [s.frame for s in scene.sightings() if s.track == i.track]
        assert frames == list(range(frames[0], frames[-1] + 1))


def test_progress_reaches_the_end_once(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    plan = replace(SMALL, seconds=5, patrols=0)
    simulate_flights(plan, tmp_path / "out", progress=lambda *what: heard.append(what))
    assert heard[0] == ("normal-01", 0, 20)
    assert heard[-1] == ("normal-01", 20, 20)
    assert [done for _, done, _ in heard] == sorted(done for _, done, _ in heard)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"width": 161}, "even"),
        ({"width": 32, "height": 18}, "width 32 is out of range"),
        ({"width": 160, "height": 400}, "too tall"),
        ({"fps": 0}, "fps 0"),
        ({"seconds": 0.0}, "seconds 0"),
        ({"seconds": float("nan")}, "seconds nan"),
        ({"seed": -1}, "seed"),
        ({"normals": 0, "patrols": 0}, "nothing to simulate"),
        ({"smallest": 4.0}, "smallest 4"),
        ({"smallest": 50.0, "largest": 40.0}, "largest 40"),
        ({"intruders": 9}, "at most 2"),
        ({"intruders": -1}, "intruders -1"),
        ({"kinds": ()}, "kinds"),
        ({"kinds": ("whale",)}, "kinds"),
    ],
)
def test_a_wrong_option_is_named_in_one_sentence(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as error:
        replace(SMALL, **wrong)
    assert str(error.value).count(".\n") == 0


def test_a_wrong_size_or_kind_on_the_command_line_is_named() -> None:
    with pytest.raises(UsageError, match="1920x1080"):
        _size("large")
    with pytest.raises(UsageError, match="did you mean boat"):
        _kinds(["boot"])


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(UsageError, match="--force"):
        simulate_flights(SMALL, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_force_replaces_an_earlier_simulation_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    (tmp_path / "normal-07.mp4").write_bytes(b"x")
    simulate_flights(replace(SMALL, seconds=2, patrols=0), tmp_path, force=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["holiday.jpg", "normal-01.mp4", "normal-01.telemetry.csv", "simulation.json"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for wrong in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        with pytest.raises(UsageError, match=str(wrong)):
            simulate_flights(SMALL, wrong)


def test_an_interrupted_flight_leaves_no_half_video(tmp_path: Path) -> None:
    def stop(_name: str, done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_flights(replace(SMALL, patrols=0), tmp_path, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_the_verb_renders_and_says_that_scores_do_not_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulate(tmp_path / "out", size="160x90", fps=2, seconds=12, normal=0, patrol=1, intruders=1)
    said = " ".join(capsys.readouterr().out.split())
    assert "patrol-01" in said
    assert "not comparable with scores on real data" in said


def test_the_simulator_needs_no_torch() -> None:
    code = "import sys, train.simulate_cli; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
