"""Two daemons with one drone's name: which of them is the second, and how it is told.

Every link hears its own status topic. One that has flown for a while answers a stranger's birth with its
own; one that has just begun and is answered knows that the name is taken.
"""

from __future__ import annotations

from enum import Enum, auto
from uuid import UUID

from edge.clock import Clock
from edge.events import Status

CLAIM_S = 2.0
REPEAT_S = 60.0  # least time between two answers to the same session
MAX_STRANGERS = 64


class Answer(Enum):
    NOTHING = auto()
    REPEAT = auto()  # publish our birth again: the topic must say that we fly
    YIELD = auto()  # the name is taken


class Claim:
    """`session` claims the drone's name for `claim_s` seconds after it first connected."""

    def __init__(self, session: UUID, clock: Clock, claim_s: float = CLAIM_S) -> None:
        self._session, self._clock, self._claim_s = session, clock, claim_s
        self._since_ns: int | None = None
        self._elder: UUID | None = None  # online according to the retained status we found
        self._answered: dict[UUID, int] = {}

    def connected(self) -> None:
        if self._since_ns is None:
            self._since_ns = self._clock.monotonic_ns()

    def hears(self, status: Status, retained: bool) -> Answer:
        """What a message on our own status topic asks of us."""
        ours = status.session == self._session
        if retained:
            # From before our birth, and possibly from a process that died unnoticed: a hint, no proof.
            if not ours and status.state == "online" and self._claiming():
                self._elder = status.session
            return Answer.NOTHING
        if status.state == "offline":
            return self._repeat(status.session)  # somebody's late last will has replaced our birth
        if ours:
            return Answer.NOTHING
        if self._claiming() and (status.session == self._elder or status.session < self._session):
            return Answer.YIELD
        return self._repeat(status.session)

    def _claiming(self) -> bool:
        if self._since_ns is None:
            return True
        return self._clock.monotonic_ns() - self._since_ns <= self._claim_s * 1e9

    def _repeat(self, stranger: UUID) -> Answer:
        now = self._clock.monotonic_ns()
        last = self._answered.get(stranger)
        if last is not None and now - last < REPEAT_S * 1e9:
            return Answer.NOTHING
        if len(self._answered) >= MAX_STRANGERS:
            self._answered.pop(next(iter(self._answered)))
        self._answered[stranger] = now
        return Answer.REPEAT
