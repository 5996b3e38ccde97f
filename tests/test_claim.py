"""Which of two daemons with one drone's name is the second."""

from __future__ import annotations

from uuid import UUID

import pytest

from edge.claim import MAX_STRANGERS, REPEAT_S, Answer, Claim
from edge.clock import FakeClock
from edge.events import Status

LOW, MIDDLE, HIGH = (UUID(int=n) for n in (1, 2, 3))


def status(session: UUID, state: str = "online") -> Status:
    reason = "started" if state == "online" else "lost"
    return Status(site="s", drone="d", session=session, state=state, reason=reason)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def claim(clock: FakeClock) -> Claim:
    claim = Claim(MIDDLE, clock)
    claim.connected()
    return claim


def test_a_claim_answered_by_the_session_it_found_is_the_second(claim: Claim) -> None:
    claim.hears(status(HIGH), retained=True)
    assert claim.hears(status(HIGH), retained=False) is Answer.YIELD


def test_a_retained_birth_alone_proves_nothing(claim: Claim) -> None:
    assert claim.hears(status(HIGH), retained=True) is Answer.NOTHING


def test_a_retained_death_makes_nobody_the_elder(claim: Claim) -> None:
    claim.hears(status(HIGH, "offline"), retained=True)
    assert claim.hears(status(HIGH), retained=False) is Answer.REPEAT


@pytest.mark.parametrize(("other", "answer"), [(LOW, Answer.YIELD), (HIGH, Answer.REPEAT)])
def test_of_two_that_claim_at_once_the_larger_session_yields(
    claim: Claim, other: UUID, answer: Answer
) -> None:
    assert claim.hears(status(other), retained=False) is answer


def test_an_established_link_answers_a_stranger_once_a_minute(claim: Claim, clock: FakeClock) -> None:
    clock.advance(2.1)
    answers = [claim.hears(status(LOW), retained=False) for _ in range(3)]
    assert answers == [Answer.REPEAT, Answer.NOTHING, Answer.NOTHING]
    clock.advance(REPEAT_S)
    assert claim.hears(status(LOW), retained=False) is Answer.REPEAT


def test_reconnecting_opens_no_new_claim(claim: Claim, clock: FakeClock) -> None:
    clock.advance(2.1)
    claim.connected()
    assert claim.hears(status(LOW), retained=False) is Answer.REPEAT


def test_our_own_birth_asks_nothing_and_a_late_last_will_a_repetition(claim: Claim) -> None:
    assert claim.hears(status(MIDDLE), retained=False) is Answer.NOTHING
    assert claim.hears(status(MIDDLE, "offline"), retained=False) is Answer.REPEAT
    assert claim.hears(status(HIGH, "offline"), retained=False) is Answer.REPEAT


def test_a_flood_of_strangers_is_answered_from_bounded_memory(claim: Claim, clock: FakeClock) -> None:
    clock.advance(3)
    for n in range(10, 10 + 10 * MAX_STRANGERS):
        claim.hears(status(UUID(int=n)), retained=False)
    assert len(claim._answered) <= MAX_STRANGERS


class Topic:
    """A broker's status topic: keeps the last birth, tells everyone who has connected."""

    def __init__(self) -> None:
        self.retained: Status | None = None
        self.claims: dict[UUID, Claim] = {}
        self.yielded: set[UUID] = set()

    def connect(self, session: UUID, claim: Claim) -> None:
        self.claims[session] = claim
        claim.connected()
        if self.retained:
            claim.hears(self.retained, retained=True)

    def birth(self, session: UUID) -> list[UUID]:
        """The sessions that want to repeat theirs."""
        if session in self.yielded:
            return []
        self.retained = status(session)
        answers = {name: claim.hears(self.retained, False) for name, claim in self.claims.items()}
        self.yielded |= {name for name, answer in answers.items() if answer is Answer.YIELD}
        return [name for name, answer in answers.items() if answer is Answer.REPEAT]

    def settle(self, births: list[UUID]) -> None:
        for _ in range(20):
            if not births:
                return
            births = births[1:] + self.birth(births[0])
        raise AssertionError("they never stop answering each other")


@pytest.mark.parametrize(("first", "second"), [(LOW, HIGH), (HIGH, LOW)])
@pytest.mark.parametrize("between_s", [0.0, 0.5, 60.0])
@pytest.mark.parametrize("crossing", [False, True], ids=["one after the other", "crossing"])
def test_exactly_one_of_two_stays_and_the_topic_names_it(
    clock: FakeClock, first: UUID, second: UUID, between_s: float, crossing: bool
) -> None:
    topic = Topic()
    topic.connect(first, Claim(first, clock))
    if crossing:
        topic.connect(second, Claim(second, clock))
        topic.settle([first, second])
    else:
        topic.settle([first])
        clock.advance(between_s)
        topic.connect(second, Claim(second, clock))
        topic.settle([second])
    assert len(topic.yielded) == 1
    assert topic.retained is not None
    assert topic.retained.session not in topic.yielded
    if between_s > 2 and not crossing:
        assert topic.yielded == {second}
