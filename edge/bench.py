"""The daemon's own chain, timed on the machine in front of you: see docs/bench.md for what a figure means."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from edge.bench_broker import broker_settings, find_mosquitto, linked, own_mosquitto
from edge.bench_budget import OVER_BUDGET
from edge.bench_chain import TOPICS, WARM_UP, Chain, Feed, NotedOutbox, OnDisk, flight_recorder
from edge.bench_clips import cost_of, turn_of
from edge.bench_contest import Contest, Plan, Progress, Tally, parse_plans
from edge.bench_entries import ENGINE, Entry, open_entries
from edge.bench_figures import ALERT, EVERY_FRAME, Board, Report, Run, Times
from edge.bench_machine import Machine, about_machine, facts
from edge.bundle import ModelBundle
from edge.detector import choose_variant, threads_of
from edge.engines import EngineStore
from edge.errors import UsageError
from edge.events import uuid7
from edge.gpu import Toolkit, load_toolkit
from edge.mqtt import BrokerSettings
from edge.recorder import Ground
from edge.sources import open_source, redact, scheme_of

__all__ = ["EVERY_FRAME", "OVER_BUDGET", "WARM_UP", "Plan", "facts", "measure", "parse_plans", "run"]

GENERATED = "sim://?width=1920&height=1080&fps=30"


def run(
    bundle: ModelBundle,
    plans: Sequence[Plan],
    wanted: str = "all",
    broker: str | None = None,
    store: EngineStore | None = None,
    progress: Progress = lambda _: None,
    machine: Machine | None = None,
    load: Callable[[], Toolkit] = load_toolkit,
) -> Report:
    """`wanted`: `all`, `auto` or variants. `broker`: a URI, `none`, or None for a mosquitto of our own.

    Raises UsageError, BundleError, FootageError, CameraError, BrokerError.
    """
    machine = machine or Machine()
    runs: list[Run] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skerry-bench-")))
        entries, left_out = open_entries(
            bundle, wanted, store or EngineStore(folder / "engines"), stack, load
        )
        settings, lacking = _broker(broker, folder, stack)
        for plan in plans:
            tallies = _contest(bundle, entries, plan, settings, progress, machine)
            runs += [_run(bundle, *pair, plan) for pair in zip(entries, tallies, strict=True)]
    about = about_machine(bundle, machine) | {
        "compared": ", ".join(entry.variant for entry in entries),
        "source": redact(plans[0].source),
        "broker": redact(broker) if broker else ("own mosquitto" if settings else "none"),
    }
    return Report(facts=about, flown=entries[0].variant, left_out={**left_out, **lacking}, runs=tuple(runs))


def measure(
    bundle: ModelBundle,
    footage: Path | None,
    frames: int,
    variant: str,
    progress: Progress = lambda _: None,
) -> Times:
    """One variant in ONNX Runtime over `frames` frames, back to back, after a warm-up; no broker.

    Raises UsageError when the footage is too short.
    """
    plan = Plan(GENERATED if footage is None else str(footage), None, frames)
    with ExitStack() as stack:
        store = EngineStore(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "engines")
        entries, _ = open_entries(bundle, choose_variant(bundle, variant), store, stack)
        return _contest(bundle, entries, plan, None, progress, Machine())[0].times


def _contest(
    bundle: ModelBundle,
    entries: Sequence[Entry],
    plan: Plan,
    settings: BrokerSettings | None,
    progress: Progress,
    machine: Machine,
) -> list[Tally]:
    """With an outbox of its own; a broker's session ends with it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skerry-bench-")))
        outbox = stack.enter_context(closing(NotedOutbox(folder / "outbox.sqlite", machine.clock)))
        feed = _feed(plan, bundle.calibration().fps, machine)
        stack.callback(feed.close)
        session = uuid7()
        ground: Ground = OnDisk(outbox)
        if settings is not None:
            ground = stack.enter_context(linked(settings, TOPICS, session, bundle, outbox, machine.clock))
        recorder = flight_recorder(bundle, session, ground, outbox, feed, machine.clock)
        chain = Chain(recorder, outbox, settings is not None, machine.clock)
        contest = Contest(entries, plan, chain, feed, machine, turn_of(bundle))
        contest.hold(progress)
    return contest.tallies


def _feed(plan: Plan, flown_fps: float, machine: Machine) -> Feed:
    """Back to back, a recording is looked at in the steps of flight, without the waits between."""
    if plan.pace is None and scheme_of(plan.source) not in ("", "file", "sim"):
        raise UsageError(
            f"--fps max needs a recording or sim://: {redact(plan.source)} gives pictures at a rate of its "
            "own; use --fps 2"
        )
    return Feed(
        redact(plan.source),
        lambda: open_source(
            plan.source,
            fps=plan.pace or flown_fps,
            replay="fast" if plan.pace is None else "realtime",
            folder_fps=plan.folder_fps,
            clock=machine.clock,
        ),
        machine.clock,
        machine.wait,
    )


def _broker(
    wanted: str | None, folder: Path, stack: ExitStack
) -> tuple[BrokerSettings | None, dict[str, str]]:
    """What to publish to, or why nothing is published."""
    if wanted == "none":
        return None, {"publish": "--broker none; the alert's time ends on disk"}
    if wanted is not None:
        return broker_settings(wanted), {}
    program = find_mosquitto()
    if program is None:
        why = "no --broker, and no mosquitto here to start one; the alert's time ends on disk"
        return None, {"publish": why}
    return stack.enter_context(own_mosquitto(program, folder)), {}


def _run(bundle: ModelBundle, entry: Entry, tally: Tally, plan: Plan) -> Run:
    threads = None if entry.variant == ENGINE else threads_of(bundle)
    return Run(
        variant=entry.variant,
        runtime=entry.runtime,
        pace=plan.pace_name,
        frames=tally.frames,
        skipped=tally.skipped,
        seconds=tally.seconds,
        cpu_s=tally.cpu_s,
        resident_mb=tally.resident_mb,
        gpu_mb=entry.gpu_mb,
        stages=tally.times.quantiles(),
        alerts_ms=tuple(round(value, 4) for value in tally.times.stages[ALERT]),
        board=Board.of(tally.readings),
        clip=cost_of(bundle, tally.clips.ms, threads),
    )
