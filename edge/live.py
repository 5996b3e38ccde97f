"""A live camera as a source: its own thread, one slot in which the newest picture wins, and its state."""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from edge.camera import TIMEOUT_S, Camera, Shot
from edge.clock import Clock
from edge.errors import CameraError
from edge.frames import Frame, Picture
from edge.pipeline import EndOfStream

log = logging.getLogger("skerry")

State = Literal["watching", "stalled", "frozen", "reconnecting", "ended"]
BACKOFF_S = (0.5, 10.0)  # the first pause before a camera is opened again, and the longest
LATE_S = 0.1  # how long a look waits for a picture that is expected just now
LEAD_S = 0.04  # how long before: a key frame takes that much longer to decode than the pictures between
CLOSE_S = 0.4  # how long close() waits for a thread that may hang in a read


@dataclass(frozen=True)
class Patience:
    """After how many seconds a camera is said to be in trouble."""

    stalled_s: float = 2.0  # no picture
    frozen_s: float = 10.0  # the same picture
    hung_s: float = 15.0  # inside one call: longer than any timeout, so the thread is given up
    opening_s: float = TIMEOUT_S + 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Snap:
    """A picture as it came, and when."""

    number: int
    shot: Shot
    mono_ns: int
    utc: datetime


class Capture:
    """Keeps one camera open and its newest picture in a slot; the only one to touch the camera."""

    def __init__(self, camera: Camera, clock: Clock, taken: int = 0) -> None:
        self.camera = camera
        self.newest: Snap | None = None
        self.failure: CameraError | None = None  # since the last picture
        self.connected = False
        self.ended = False
        self.thinned = False  # the camera gives only pictures at the rate of looking
        self.came = threading.Event()  # a picture, since the event was last cleared
        self.heard_ns = 0  # when the camera last sent anything
        self.tried = threading.Event()  # opening has succeeded or failed once
        self.busy_since_ns: int | None = None  # inside a call to the camera
        self.taken = taken
        self._clock = clock
        self._pause_s = BACKOFF_S[0]
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not (self._stop.is_set() or self.ended):
            pause_s = self.step()
            if pause_s:
                self._stop.wait(pause_s)
        self.camera.close()

    def step(self) -> float:
        """One act: open the camera or take one picture. Seconds to pause before the next."""
        self.busy_since_ns = self._clock.monotonic_ns()
        try:
            return self._take() if self.connected else self._connect()
        except EndOfStream:
            self.ended = True
            return 0.0
        except CameraError as error:
            return self._lose(error)
        finally:
            self.busy_since_ns = None
            if not self.tried.is_set():  # setting it takes a lock, for every frame of the camera
                self.tried.set()

    def _connect(self) -> float:
        self.camera.open()
        self.connected = True
        return 0.0

    def _take(self) -> float:
        shot = self.camera.read()
        self.heard_ns = self._clock.monotonic_ns()
        if shot is None:
            self.thinned = True
        else:
            self.newest = Snap(self.taken, shot, self.heard_ns, self._clock.utc())
            self.came.set()
        self.taken += 1
        self.failure = None
        self._pause_s = BACKOFF_S[0]
        return 0.0

    def _lose(self, error: CameraError) -> float:
        self.failure = error
        self.connected = False
        self.camera.close()
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, BACKOFF_S[1])
        return pause_s

    @property
    def died(self) -> bool:
        return self._thread is not None and not self._thread.is_alive() and not self.ended

    def abandon(self) -> None:
        """Let the thread close the camera whenever it comes back."""
        self._stop.set()

    def close(self) -> None:
        """Ask the thread to close the camera; a daemon thread that hangs is left behind."""
        self.abandon()
        if self._thread is None:
            self.camera.close()
        else:
            self._thread.join(CLOSE_S)


class LiveSource:
    """A camera looked at `fps` times a second; late ticks are skipped and counted.

    `make` builds the camera, and again when a call into it never comes back. Raises CameraError when it
    cannot be opened at all; from then on failures are states, and it is opened again and again.
    """

    def __init__(
        self,
        make: Callable[[], Camera],
        fps: float,
        clock: Clock,
        patience: Patience = Patience(),
        start: Callable[[Capture], object] = Capture.start,
    ) -> None:
        self.skipped = 0
        self._make = make
        self._clock = clock
        self._patience = patience
        self._start = start
        self._period_ns = round(1e9 / fps)
        self._capture = self._new_capture(0)
        self._check_opened()
        self._opened_ns = self._next_ns = clock.monotonic_ns()
        self._seen_ns = self._changed_ns = self._opened_ns  # of the last picture; of the last new one
        self._first_ns: int | None = None
        self._early_ns = 0  # how much before its tick the next picture is expected
        self._seen = -1
        self._digest: int | None = None
        self._told: State = "watching"

    @property
    def state(self) -> State:
        now, capture = self._clock.monotonic_ns(), self._capture
        if capture.ended:
            return "ended"
        if not capture.connected:
            return "reconnecting"
        last_ns = capture.heard_ns or self._opened_ns
        if now - last_ns > self._patience.stalled_s * 1e9:
            return "stalled"
        if self._seen_ns - self._changed_ns > self._patience.frozen_s * 1e9:
            return "frozen"
        return "watching"

    def due_s(self) -> float:
        return max(0.0, (self._next_ns - self._early_ns - self._clock.monotonic_ns()) / 1e9)

    def read(self) -> Frame | None:
        """The newest frame, None when nothing new came since the last. Raises EndOfStream."""
        self._tick()
        self._replace_if_hung()
        self._tell_changes()
        ended = self._capture.ended  # before the slot is looked at, so that the last picture is not missed
        snap = self._newest()
        if snap is None or snap.number == self._seen:
            if ended:
                raise EndOfStream
            self._miss()
            return None
        self._seen = snap.number
        if self._capture.thinned:
            self._keep_step(snap.mono_ns + round(snap.shot.early_s * 1e9))
            self._early_ns = round(snap.shot.next_early_s * 1e9)
        return self._frame(snap)

    def _miss(self) -> None:
        """What was expected early did not come: it is looked for again when it is due."""
        if self._early_ns:
            self._early_ns = 0
            self._next_ns -= self._period_ns

    def _newest(self) -> Snap | None:
        """A thinned camera's next picture may be a moment late; it is worth waiting for."""
        capture = self._capture
        capture.came.clear()
        snap = capture.newest
        if capture.thinned and capture.connected and snap is not None and self._is_stale(snap):
            capture.came.wait(min(LATE_S, self._period_ns / 5e9))
        return capture.newest

    def _is_stale(self, snap: Snap) -> bool:
        """Seen, or so old that the next is about to come: else every look would be one picture behind."""
        age_ns = self._clock.monotonic_ns() - snap.mono_ns
        return snap.number == self._seen or age_ns > self._period_ns // 2

    def _keep_step(self, turn_ns: int) -> None:
        """Move the ticks, a little each time, to just before the turns at which this camera's pictures come.

        A look waits for the picture and has it at once; a tick behind it would let it grow old.
        """
        half_ns, most_ns = self._period_ns // 2, self._period_ns // 10
        wanted_ns = turn_ns - min(round(LEAD_S * 1e9), most_ns)
        off_ns = (wanted_ns - self._next_ns + half_ns) % self._period_ns - half_ns
        self._next_ns += max(-most_ns, min(most_ns, off_ns))

    def close(self) -> None:
        self._capture.close()

    def _new_capture(self, taken: int) -> Capture:
        capture = Capture(self._make(), self._clock, taken)
        self._start(capture)
        return capture

    def _check_opened(self) -> None:
        capture, limit_s = self._capture, self._patience.opening_s
        answered = capture.tried.wait(limit_s)
        if answered and capture.failure is None:
            return
        self.close()
        if capture.failure is not None:
            raise capture.failure
        raise CameraError(
            f"Camera {capture.camera.name} did not open within {limit_s:g} s; check that it is on and free."
        )

    def _tick(self) -> None:
        late_ns = self._clock.monotonic_ns() - self._next_ns
        missed = max(0, late_ns // self._period_ns)
        self.skipped += missed
        self._next_ns += (missed + 1) * self._period_ns

    def _replace_if_hung(self) -> None:
        """A read can hang for good inside a driver; then only a new thread and camera help."""
        hung = self._capture
        busy_ns = hung.busy_since_ns
        patient = busy_ns is None or self._clock.monotonic_ns() - busy_ns < self._patience.hung_s * 1e9
        if patient and not hung.died:
            return
        log.warning("camera %s hangs; opening it anew", hung.camera.name)
        hung.abandon()
        self._capture = self._new_capture(hung.taken)

    def _tell_changes(self) -> None:
        state = self.state
        if state == self._told:
            return
        capture, self._told = self._capture, state
        cause = f" ({capture.failure})" if capture.failure and state == "reconnecting" else ""
        level = logging.INFO if state in ("watching", "ended") else logging.WARNING
        log.log(level, "camera %s: %s%s", capture.camera.name, state, cause)

    def _frame(self, snap: Snap) -> Frame | None:
        try:
            image = snap.shot()
        except CameraError as error:
            log.warning("%s", error)
            return None
        self._note_change(image, snap.mono_ns)
        if self._first_ns is None:
            self._first_ns = snap.mono_ns
        stream_s = (snap.mono_ns - self._first_ns) / 1e9
        return Frame(image, snap.number, stream_s, snap.mono_ns, snap.utc)

    def _note_change(self, image: Picture, mono_ns: int) -> None:
        digest = zlib.crc32(image[::16].tobytes())  # some rows will do: a sensor's noise is everywhere
        self._seen_ns = mono_ns
        if digest != self._digest:
            self._digest, self._changed_ns = digest, mono_ns
