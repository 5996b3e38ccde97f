"""What flies: one bundle, or one with a clip bundle beside it, opened and ready for the loop."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass

from edge.bundle import Calibration, ModelBundle, load_bundle
from edge.clip_detector import clip_of
from edge.detector import file_of, open_detector
from edge.engine_choice import FOLDER, LONGEST, Choice, open_fastest
from edge.errors import SettingsError
from edge.incidents import Levels
from edge.leeway import EXACT, Leeway
from edge.pipeline import Detector
from edge.settings import Settings

log = logging.getLogger("skerry")


@dataclass(frozen=True, slots=True, eq=False)
class Flight:
    """`why`: what computes the models, for `status`; the bundles by their digests."""

    detector: Detector
    levels: Levels
    persistence: int
    heat_level: float
    name: str
    bundle: str
    clip_bundle: str | None
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The bundles that the settings name, read and not yet opened. `fps`, `leeway`: of the source."""

    bundle: ModelBundle
    beside: ModelBundle | None
    fps: float
    leeway: Leeway


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    bundle: ModelBundle
    calibration: Calibration
    detector: Detector
    why: str


def choose(settings: Settings) -> Chosen:
    """Raises BundleError for what must not fly, SettingsError for two bundles that cannot fly together."""
    bundle = load_bundle(settings.bundle, whole=False)
    bundle.calibration()
    clip = bundle.manifest.kind == "clip"
    fps = clip_of(bundle).extractor.fps if clip else settings.fps
    if settings.clip_bundle is None:
        return Chosen(bundle, None, fps, _leeway(bundle, settings))
    beside = _beside(bundle, settings)
    return Chosen(bundle, beside, max(fps, clip_of(beside).extractor.fps), EXACT)


def open_flight(chosen: Chosen, settings: Settings, stack: ExitStack) -> Flight:
    """The models, until the stack closes. Raises BundleError for what must not fly."""
    if chosen.beside is None and _sees_thumbnails(chosen.bundle):
        _one_thread()
    opened = _open(chosen.bundle, settings, stack)
    if chosen.beside is None:
        return _alone(opened)
    return _both(opened, _open(chosen.beside, settings, stack), settings)


def _sees_thumbnails(bundle: ModelBundle) -> bool:
    return bundle.manifest.kind != "clip" and bundle.manifest.input.tiling == "none"


def _judges_one_by_one(bundle: ModelBundle) -> bool:
    """Each picture by itself or against other flights, not against earlier ones: what moves between even
    looks is what such a model was calibrated on."""
    manifest = bundle.manifest
    moving = any(branch.source == "motion" for branch in manifest.scoring.branches)
    paired = manifest.input.frames > 1 and manifest.input.beside == "earlier"
    remembers = moving or paired or manifest.scoring.memory_s > 0
    return manifest.kind != "clip" and not remembers


def _leeway(bundle: ModelBundle, settings: Settings) -> Leeway:
    """As set, as far as the model that flies alone bears it."""
    if not _judges_one_by_one(bundle):
        return EXACT
    loop_filter = settings.loop_filter if _sees_thumbnails(bundle) else "always"
    return Leeway(loop_filter, min(settings.early, 0.5 / settings.fps))


def _one_thread() -> None:
    """OpenCV's own threads do nothing for so small pictures but wait for each other."""
    import cv2

    cv2.setNumThreads(1)


def _beside(bundle: ModelBundle, settings: Settings) -> ModelBundle:
    assert settings.clip_bundle is not None
    beside = load_bundle(settings.clip_bundle, whole=False)
    beside.calibration()
    if beside.manifest.kind != "clip" or bundle.manifest.kind == "clip":
        raise SettingsError(
            f"setting clip_bundle = {str(settings.clip_bundle)!r} ({beside.manifest.kind}) beside bundle "
            f"{settings.bundle} ({bundle.manifest.kind}): a clip bundle flies beside one of another kind; "
            "fly it alone with --bundle"
        )
    return beside


def _open(bundle: ModelBundle, settings: Settings, stack: ExitStack) -> _Opened:
    wanted = settings.variant
    if settings.clip_bundle is not None and file_of(wanted) not in bundle.manifest.variants:
        wanted = "auto"  # a variant that only the other one has
    choice = open_fastest(bundle, wanted, settings.state_dir / FOLDER)
    stack.enter_context(choice.runtime)
    calibration = bundle.calibration()
    detector = open_detector(bundle, choice.runtime)
    why = f"{choice.why}; {_pace(bundle, choice)}" if bundle.manifest.kind == "clip" else choice.why
    _warn_of_mismatch(bundle, choice.variant, settings)
    return _Opened(bundle, calibration, detector, why)


def _pace(bundle: ModelBundle, choice: Choice) -> str:
    from edge.clip_pace import SHARE, measure_pace

    pace = measure_pace(bundle, choice.runtime)
    log.log(logging.INFO if pace.share <= SHARE else logging.WARNING, "%s", pace.said())
    return pace.said()


def _warn_of_mismatch(bundle: ModelBundle, variant: str, settings: Settings) -> None:
    """A threshold is for the conditions it was found under; flying under others is allowed, and said."""
    found = bundle.calibration()
    if found.variant != variant:
        log.warning("the threshold was found with %s, this flight runs %s", found.variant, variant)
    fps = clip_of(bundle).extractor.fps if bundle.manifest.kind == "clip" else settings.fps
    if abs(found.fps - fps) > 0.01 * fps:
        log.warning("the threshold was found at %g fps, this flight looks at %g", found.fps, fps)
    if outdated := bundle.outdated():
        log.warning("%s", outdated)


def _alone(opened: _Opened) -> Flight:
    manifest, found = opened.bundle.manifest, opened.calibration
    return Flight(
        detector=opened.detector,
        levels=Levels(found.threshold, found.release, found.median),
        persistence=manifest.scoring.persistence,
        heat_level=found.box_level,
        name=manifest.name,
        bundle=opened.bundle.digest,
        clip_bundle=None,
        why=_short(opened.why),
    )


def _both(places: _Opened, clips: _Opened, settings: Settings) -> Flight:
    from edge.together import LEVELS, Together, Voice

    voices = Voice(places.bundle, places.detector), Voice(clips.bundle, clips.detector)
    for voice, opened in zip(voices, (places, clips), strict=True):
        if voice.share.refused:
            log.warning(
                "%s keeps its own threshold and is not held to half of its false alarms: %s",
                opened.bundle.manifest.name, voice.share.refused,
            )  # fmt: skip
    return Flight(
        detector=Together(*voices, settings.fps),
        levels=LEVELS,
        persistence=1,  # each has its own
        heat_level=places.calibration.box_level,
        name=f"{places.bundle.manifest.name} and {clips.bundle.manifest.name}",
        bundle=places.bundle.digest,
        clip_bundle=clips.bundle.digest,
        why=_short(f"{places.why}; clip: {clips.why}"),
    )


def _short(text: str) -> str:
    """Fits the wire."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
