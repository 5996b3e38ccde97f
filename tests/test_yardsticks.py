from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import BundleError
from edge.latent import Latent
from edge.localize import Scale
from edge.yardsticks import Yardsticks, mute, scale_of, stretched

SOUND = Yardsticks(
    (Scale(0.5, np.array([[1, 2, 3]], np.float32)), Scale(-1.0, np.ones((2, 2), np.float32))),
    Latent(np.zeros((4, 2, 3), np.float32), np.eye(4, dtype=np.float32)),
)


def test_yardsticks_survive_their_file() -> None:
    again = Yardsticks.from_bytes(SOUND.to_bytes(), 2)
    for before, after in zip(SOUND.scales, again.scales, strict=True):
        assert after.typical == before.typical
        np.testing.assert_array_equal(after.high, before.high)
    assert SOUND.latent is not None
    assert again.latent is not None
    np.testing.assert_array_equal(again.latent.mean, SOUND.latent.mean)
    np.testing.assert_array_equal(again.latent.white, SOUND.latent.white)
    assert Yardsticks.from_bytes(Yardsticks(SOUND.scales).to_bytes(), 2).latent is None


def test_the_same_yardsticks_are_the_same_bytes() -> None:
    assert SOUND.to_bytes() == SOUND.to_bytes()


def test_scales_for_fewer_branches_than_the_scoring_has_are_refused() -> None:
    with pytest.raises(BundleError, match="does not fit the bundle's scoring; calibrate the bundle again"):
        Yardsticks.from_bytes(SOUND.to_bytes(), 3)


FAULTS: dict[str, dict[str, np.ndarray | None]] = {
    "nan": {"high_0": np.array([[np.nan]])},
    "infinite": {"typical_0": np.array([np.inf])},
    "flat": {"high_0": np.array([[0.5, 2]])},
    "below": {"high_0": np.array([[0.1]])},
    "vector": {"high_0": np.ones(3)},
    "empty": {"high_0": np.ones((0, 3))},
    "no typical": {"typical_0": np.ones(0)},
    "square": {"latent_white": np.eye(3)},
    "missing white": {"latent_white": None},
    "flat mean": {"latent_mean": np.ones((4, 6))},
    "no mean": {"latent_mean": np.ones((4, 0, 3))},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_yardsticks_that_cannot_be_right_are_refused(fault: str) -> None:
    with np.load(io.BytesIO(SOUND.to_bytes())) as file:
        arrays = {name: file[name] for name in file.files}
    changed = {name: values for name, values in {**arrays, **FAULTS[fault]}.items() if values is not None}
    buffer = io.BytesIO()
    np.savez(buffer, **changed)
    with pytest.raises(BundleError):
        Yardsticks.from_bytes(buffer.getvalue(), 2)


def test_pickles_are_never_loaded() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, typical_0=np.array([{"a": 1}], dtype=object), high_0=np.ones((1, 1)))
    with pytest.raises(BundleError, match="cannot be read"):
        Yardsticks.from_bytes(buffer.getvalue(), 1)


@given(st.binary(max_size=300))
def test_hostile_bytes_raise_nothing_but_bundle_errors(data: bytes) -> None:
    with pytest.raises(BundleError):
        Yardsticks.from_bytes(data, 1)


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=8))
def test_a_damaged_file_raises_nothing_but_bundle_errors(place: int, damage: bytes) -> None:
    data = bytearray(SOUND.to_bytes())
    place %= len(data)
    data[place : place + len(damage)] = damage
    try:
        Yardsticks.from_bytes(bytes(data), 2)
    except BundleError:
        return


def test_a_branch_without_evidence_has_no_heat() -> None:
    heats = SOUND.heats([None, np.zeros((2, 2), np.float32)])
    assert heats[0] is None
    np.testing.assert_allclose(heats[1], 0.5)


def frames_of(busy: float, quiet: float, frames: int = 60) -> list[np.ndarray]:
    """16 x 16 places; two by two of them habitually busy, all others alike but for one that is quiet."""
    random = np.random.default_rng(0)
    cells = random.normal(1, 0.05, (frames, 16, 16)).astype(np.float32)
    cells[:, 2:4, 2:4] += np.float32(busy)
    cells[:, 6, 6] *= np.float32(quiet)
    return list(cells)


def test_a_place_where_much_is_habitual_needs_more() -> None:
    scale = scale_of(frames_of(busy=5, quiet=1), typical=0.5)
    assert scale.high[2:4, 2:4].min() > 5.5
    assert scale.high[1:5, 1:5].min() > 5.5  # and next to it: movers do not keep to places
    assert scale.high[7, 0] < scale.high[3, 3]


def test_a_quiet_place_is_held_to_what_is_usual_elsewhere() -> None:
    scale = scale_of(frames_of(busy=0, quiet=0.01), typical=0.5)
    assert scale.high[6, 6] == pytest.approx(scale.high.min())
    assert scale.high.min() > 1.0


def test_what_once_passed_through_a_place_is_no_habit_of_it() -> None:
    frames = frames_of(busy=0, quiet=1)
    frames[30][5, 1] = 50
    assert scale_of(frames, typical=0.5).high.max() < 2


finite = st.floats(-1000, 1000, width=32)


@settings(deadline=None)
@given(finite, finite, st.floats(0, 1e4), st.integers(1, 5))
def test_whatever_calibration_makes_can_be_loaded_again(
    typical: float, most: float, heat: float, frames: int
) -> None:
    """Also of evidence that never varies, and of a heat that says nothing."""
    cells = [np.full((3, 4), most, np.float32)] * frames
    made = Yardsticks((stretched(scale_of(cells, typical), heat), mute()))
    again = Yardsticks.from_bytes(made.to_bytes(), 2)
    assert (again.scales[0].high > again.scales[0].typical).all()


def test_stretching_makes_1_of_what_was_so_hot() -> None:
    scale = Scale(2.0, np.array([[4.0, 6.0]], np.float32))
    evidence = np.array([[7.0, 12.0]], np.float32)
    np.testing.assert_allclose(scale.heat(evidence), 2.5)
    np.testing.assert_allclose(stretched(scale, 2.5).heat(evidence), 1)


def test_a_mute_branch_accuses_nobody() -> None:
    assert abs(mute().heat(np.full((9, 9), 1e6, np.float32))).max() < 1e-20
