from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import BundleError
from edge.place_files import bytes_of, places_in
from tests.route import view
from tests.test_places import GROUND, gathered

KNOWN = gathered(1)
DATA = bytes_of(KNOWN)


def changed(**arrays: object) -> bytes:
    with np.load(io.BytesIO(DATA)) as file:
        held = {name: file[name] for name in file.files}
    held.update({name: np.asarray(value) for name, value in arrays.items() if value is not None})
    for name in [name for name, value in arrays.items() if value is None]:
        del held[name]
    buffer = io.BytesIO()
    np.savez(buffer, **held)
    return buffer.getvalue()


def test_a_route_comes_back_as_it_was() -> None:
    back = places_in(DATA)
    assert [place.jpeg for place in back.places] == [place.jpeg for place in KNOWN.places]
    picture = view(GROUND, 777)
    one, other = KNOWN.walk().recall(picture), back.walk().recall(picture)
    assert one is not None
    assert other is not None
    np.testing.assert_array_equal(one.picture, other.picture)


@pytest.mark.parametrize(
    "arrays",
    [
        {"jpeg": None},
        {"flight": np.zeros(3, np.int64)},
        {"flight": np.zeros((0,), np.int64)},
        {"glance": np.full((len(KNOWN.places), 576), np.nan, np.float32)},
        {"points": np.zeros((1, 2), np.float32)},
        {"count": np.full(len(KNOWN.places), -1, np.int64)},
        {"size": np.zeros((len(KNOWN.places), 2), np.int64)},
        {"length": np.full(len(KNOWN.places), 2**62, np.int64)},
        {"words": np.zeros((0, 32), np.float64)},
        {"glance": "text"},
    ],
)
def test_arrays_that_do_not_fit_are_one_sentence(arrays: dict[str, object]) -> None:
    with pytest.raises(BundleError, match="calibrate the bundle again"):
        places_in(changed(**arrays))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_bytes_that_are_no_route_are_one_sentence(data: bytes) -> None:
    with pytest.raises(BundleError):
        places_in(data)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_a_changed_byte_gives_a_route_or_one_sentence(place: int, by: int) -> None:
    spoilt = bytearray(DATA)
    spoilt[place] ^= by
    with suppress(BundleError):
        places_in(bytes(spoilt))
