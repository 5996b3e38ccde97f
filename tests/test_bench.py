"""The daemon's chain under the stopwatch: turns, paces, recordings without end, brokers and engines."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from edge.bench import GENERATED, Plan, measure, parse_plans, run
from edge.bench_broker import own_mosquitto
from edge.bench_chain import ANSWER_S, Feed, NotedOutbox
from edge.bench_contest import FRAMES, SECONDS
from edge.bench_entries import choose, open_entries
from edge.bench_machine import Machine
from edge.bundle import ModelBundle, write_bundle
from edge.clock import FakeClock, SystemClock
from edge.engine_build import Order, make_engine
from edge.engines import EngineStore
from edge.errors import BrokerError, BundleError, CameraError, UsageError
from edge.frames import Frame
from edge.gpu import EngineError, Toolkit
from edge.simgpu import simulated
from edge.sources import WatchedSource, open_source
from tests.broker import Listener, Mosquitto, until
from tests.builders import BLUR, flying_bundle, folder_of, patrol_pictures
from tests.engines import gpu_bundle_at


@pytest.fixture(scope="module")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28 looks at 2 fps."""
    return folder_of(tmp_path_factory.mktemp("bench") / "normal", patrol_pictures("." * 140, seed=0))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, normal: Path) -> ModelBundle:
    """Two variants that compute the same."""
    flying = flying_bundle(tmp_path_factory.mktemp("bench") / "b", normal)
    variants = {"fp32": "model.fp32.onnx", "int8-cpu": "model.int8-cpu.onnx", "fp16": "model.fp16.onnx"}
    manifest = flying.manifest.model_copy(update={"variants": variants})
    other = {"model.int8-cpu.onnx": BLUR.read_bytes(), "model.fp16.onnx": BLUR.read_bytes()}
    return write_bundle(flying.folder, manifest, other)


def replaying(path: Path, clock: FakeClock, *, realtime: bool) -> WatchedSource:
    return open_source(
        str(path), fps=2.0, replay="realtime" if realtime else "fast", folder_fps=10.0, clock=clock
    )


def test_models_take_turns_until_each_has_its_frames(bundle: ModelBundle, normal: Path) -> None:
    looks: list[int] = []
    report = run(bundle, [Plan(str(normal), None, frames=30)], "all", "none", progress=looks.append)
    assert [(one.variant, one.frames) for one in report.runs] == [("int8-cpu", 30), ("fp32", 30)]
    assert all(one.stages["infer"].count == len(one.alerts_ms) == 30 for one in report.runs)
    assert looks == list(range(1, 2 * 10 + 2 * 30 + 4 * 2 + 1))  # warm-up, what counts, 2 more a turn
    assert report.flown == "int8-cpu"
    assert "made for a GPU" in report.left_out["fp16"]
    assert report.facts["compared"] == "int8-cpu, fp32"


def test_an_alert_takes_longer_than_what_is_done_before_it(bundle: ModelBundle, normal: Path) -> None:
    stages = measure(bundle, normal, 12, "fp32").stages
    before = ("decode", "preprocess", "infer", "score", "localize", "event", "outbox")
    for number, alert in enumerate(stages["alert"]):
        assert alert >= sum(stages[name][number] for name in before) - 0.001


def test_at_a_pace_the_wait_is_a_stage_and_a_minute_has_its_frames(bundle: ModelBundle, normal: Path) -> None:
    """The clock moves only by waiting: 2 looks a second, none of them late, 3 ms of processor each."""
    clock = FakeClock()
    used = iter(range(10_000))
    machine = Machine(clock, clock.advance, lambda: 0.015 * next(used))
    report = run(bundle, [Plan(str(normal), 2.0, frames=10)], "fp32", "none", machine=machine)
    (paced,) = report.runs
    assert (paced.pace, paced.frames, paced.skipped) == ("2", 10, 0)
    assert paced.stages["wait"].p50 == pytest.approx(500, abs=1)
    assert paced.seconds == pytest.approx(5.0, abs=0.6)
    assert paced.cpu_s == pytest.approx(0.015)
    assert paced.alerts_ms == (0.0,) * 10


def test_back_to_back_nobody_waits(bundle: ModelBundle, normal: Path) -> None:
    def never(seconds: float) -> None:
        raise AssertionError(f"waited {seconds} s")

    report = run(bundle, [Plan(str(normal), None, 5)], "fp32", "none", machine=Machine(wait=never))
    assert "wait" not in report.runs[0].stages


def test_a_bench_ends_when_its_time_is_over(bundle: ModelBundle, normal: Path) -> None:
    clock = FakeClock()
    plan = Plan(str(normal), 2.0, seconds=12.0)
    report = run(bundle, [plan], "fp32", "none", machine=Machine(clock, clock.advance))
    assert 20 <= report.runs[0].frames <= 40


def test_a_recording_begins_anew_on_one_timeline(normal: Path) -> None:
    clock = FakeClock()
    feed = Feed("normal", lambda: replaying(normal, clock, realtime=False), clock, clock.advance)
    times = [feed.show().frame.stream_s for _ in range(60)]
    steps = [later - earlier for earlier, later in pairwise(times)]
    assert steps == pytest.approx([0.5] * 59)
    feed.close()


def test_looks_that_come_too_late_are_counted_over_every_round(normal: Path) -> None:
    clock = FakeClock()
    feed = Feed("normal", lambda: replaying(normal, clock, realtime=True), clock, clock.advance)
    for _ in range(20):
        feed.show()
        clock.advance(1.2)
    assert feed.skipped >= 20
    feed.close()


class Dark:
    """A camera that gives nothing."""

    skipped, state = 0, "stalled"

    def due_s(self) -> float:
        return 0.5

    def read(self) -> Frame | None:
        return None

    def close(self) -> None:
        """Nothing is open."""


def test_a_camera_that_gives_nothing_ends_the_bench() -> None:
    clock = FakeClock()
    feed = Feed("cam", Dark, clock, clock.advance)  # type: ignore[arg-type]
    with pytest.raises(CameraError, match="gave no picture"):
        feed.show()
    assert clock.now_ns <= (ANSWER_S + 1) * 1e9


def test_the_outbox_notes_when_the_broker_had_a_message(tmp_path: Path) -> None:
    clock = FakeClock()
    with NotedOutbox(tmp_path / "outbox.sqlite", clock) as outbox:
        assert isinstance(outbox, NotedOutbox)
        clock.advance(1.0)
        first = outbox.put("a", b"")
        clock.advance(0.25)
        outbox.remove(first)
        assert (outbox.notes[0].ended_ns, outbox.gone_ns(first)) == (1_000_000_000, 1_250_000_000)
        outbox.fresh()
        assert outbox.notes == []


def test_a_broker_that_never_answers_ends_the_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.bench_chain.ANSWER_S", 0.01)
    with NotedOutbox(tmp_path / "outbox.sqlite", SystemClock()) as outbox:
        assert isinstance(outbox, NotedOutbox)
        with pytest.raises(BrokerError, match="did not acknowledge"):
            outbox.gone_ns(outbox.put("a", b""))


@pytest.fixture
def listened(mosquitto: Mosquitto) -> Iterator[Listener]:
    listener = Listener(mosquitto.start().port).wait()
    yield listener
    listener.close()


@pytest.mark.broker
def test_every_alert_reaches_the_broker_that_was_named(
    bundle: ModelBundle, normal: Path, mosquitto: Mosquitto, listened: Listener
) -> None:
    report = run(bundle, [Plan(str(normal), None, 5)], "fp32", mosquitto.uri)
    publish = report.runs[0].stages["publish"]
    assert publish.count == 5
    assert publish.max > 0
    until(lambda: len(listened.payloads("skerry/v1/bench/bench/event")) == 10 + 5)
    assert report.left_out == {}


@pytest.mark.broker
def test_a_mosquitto_of_its_own_is_started_and_stopped(bundle: ModelBundle, normal: Path) -> None:
    report = run(bundle, [Plan(str(normal), None, 3)], "fp32")
    assert report.runs[0].stages["publish"].count == 3
    assert report.facts["broker"] == "own mosquitto"


def test_where_no_mosquitto_is_the_publishing_is_left_out_and_said(
    bundle: ModelBundle, normal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.bench.find_mosquitto", lambda: None)
    report = run(bundle, [Plan(str(normal), None, 3)], "fp32")
    assert "no mosquitto here" in report.left_out["publish"]
    assert "publish" not in report.runs[0].stages


def test_a_mosquitto_that_does_not_start_is_said(tmp_path: Path) -> None:
    with (
        pytest.raises(BrokerError, match="give --broker URI or --broker none"),
        own_mosquitto("false", tmp_path),
    ):
        pass


def test_a_broker_that_is_not_there_is_said(bundle: ModelBundle, normal: Path) -> None:
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1"):
        run(bundle, [Plan(str(normal), None, 3)], "fp32", "mqtt://127.0.0.1:1")


def test_a_camera_cannot_be_watched_back_to_back(bundle: ModelBundle) -> None:
    with pytest.raises(UsageError, match=r"rtsp://\*\*\*@camera/ gives pictures at a rate of its own"):
        run(bundle, [Plan("rtsp://user:secret@camera/", None, 3)], "fp32", "none")


def test_variants_are_chosen_by_name_as_flown_or_all(bundle: ModelBundle) -> None:
    assert choose(bundle, "all").variants == ("int8-cpu", "fp32")
    assert choose(bundle, "auto").variants == ("int8-cpu",)
    assert choose(bundle, "fp32, fp16,fp32").variants == ("fp32", "fp16")
    assert not choose(bundle, "fp32").engine
    with pytest.raises(UsageError, match="did you mean fp16"):
        choose(bundle, "fp61")


def test_an_engine_that_is_asked_for_and_not_there_is_an_error(bundle: ModelBundle, tmp_path: Path) -> None:
    with ExitStack() as stack, pytest.raises(UsageError, match="nothing to time"):
        open_entries(bundle, "engine", EngineStore(tmp_path / "engines"), stack)


def test_an_engine_takes_part_with_the_memory_it_took(tmp_path: Path, normal: Path) -> None:
    flying = flying_bundle(tmp_path / "plain", normal)
    both = gpu_bundle_at(tmp_path / "gpu")
    known = flying.manifest.calibration
    assert known is not None
    manifest = both.manifest.model_copy(update={"calibration": known})
    bundle = write_bundle(both.folder, manifest, {known.statistics: flying.read(known.statistics)})
    store, toolkit = EngineStore(tmp_path / "engines"), simulated()
    make_engine(bundle, Order(), store, toolkit)
    plan = Plan(str(normal), None, 3)
    report = run(bundle, [plan], "all", "none", store, load=lambda: toolkit)
    assert [one.variant for one in report.runs] == ["engine", "fp32"]
    assert report.flown == "engine"
    assert report.runs[0].runtime == "TensorRT 10.3.0, fp16 engine 1"
    assert (report.runs[0].gpu_mb or 0) > 0
    assert report.runs[1].gpu_mb is None
    assert [one.variant for one in run(bundle, [plan], "auto", "none", store, load=lambda: toolkit).runs] == [
        "engine"
    ]


def test_why_there_is_no_engine_is_told(tmp_path: Path, bundle: ModelBundle, normal: Path) -> None:
    def gone() -> Toolkit:
        raise EngineError("TensorRT is not installed")

    (tmp_path / "engines").mkdir()
    report = run(
        bundle, [Plan(str(normal), None, 3)], "all", "none", EngineStore(tmp_path / "engines"), load=gone
    )
    assert report.left_out["engine"] == "TensorRT is not installed"


def test_a_bundle_that_cannot_fly_is_not_timed(tmp_path: Path, bundle: ModelBundle, normal: Path) -> None:
    bare = replace(bundle, manifest=bundle.manifest.model_copy(update={"calibration": None}))
    with pytest.raises(BundleError, match="calibrat"):
        run(bare, [Plan(str(normal), None, 3)], "fp32", "none")


def test_paces_and_ends_are_read_from_the_command_line() -> None:
    back, paced = parse_plans("max, 2", GENERATED, None, None)
    assert (back.pace, back.frames, back.seconds) == (None, FRAMES, math.inf)
    assert (paced.pace, paced.frames, paced.seconds) == (2.0, math.inf, SECONDS)
    (both,) = parse_plans("0.5", GENERATED, 7, 9.0)
    assert (both.pace_name, both.frames, both.seconds) == ("0.5", 7, 9.0)


@pytest.mark.parametrize("words", ["", "0", "-1", "61", "nan", "inf", "2,,max", "twice"])
def test_a_pace_that_means_nothing_is_refused(words: str) -> None:
    with pytest.raises(UsageError, match="give looks a second"):
        parse_plans(words, GENERATED, None, None)
