"""Places of a route as the bytes of a file in the bundle, and back; read as hostile input."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.arrays import arrays_in
from edge.errors import BundleError
from edge.places import Place, Places
from edge.sights import GLANCE, Sight

_DAMAGED = "the route in the bundle is damaged; calibrate the bundle again"
_LONGEST = 1e5  # pixels; a coordinate beyond is no place in a picture


def bytes_of(places: Places) -> bytes:
    """Uncompressed: the pictures are JPEG already."""
    sights = [place.sight for place in places.places]
    jpegs = [np.frombuffer(place.jpeg, np.uint8) for place in places.places]
    buffer = io.BytesIO()
    np.savez(
        buffer,
        flight=places.flights,
        glance=places.glances.astype(np.float32),
        size=np.array([sight.size for sight in sights], np.int64).reshape(-1, 2),
        count=np.array([len(sight.points) for sight in sights], np.int64),
        points=np.concatenate([np.zeros((0, 2), np.float32), *(sight.points for sight in sights)]),
        words=np.concatenate([np.zeros((0, 32), np.uint8), *(sight.words for sight in sights)]),
        length=np.array([len(jpeg) for jpeg in jpegs], np.int64),
        jpeg=np.concatenate([np.zeros(0, np.uint8), *jpegs]),
    )
    return buffer.getvalue()


def places_in(data: bytes) -> Places:
    """Raises BundleError for bytes that hold no route."""
    arrays = arrays_in(data, _DAMAGED)
    try:
        _check(arrays)
    except (LookupError, ValueError, TypeError, OverflowError):
        raise BundleError(_DAMAGED) from None
    features = np.split(np.arange(len(arrays["points"])), np.cumsum(arrays["count"])[:-1])
    pictures = np.split(arrays["jpeg"], np.cumsum(arrays["length"])[:-1])
    return Places(
        [
            Place(
                flight=int(arrays["flight"][number]),
                sight=Sight(
                    arrays["glance"][number],
                    arrays["points"][which],
                    arrays["words"][which],
                    (int(arrays["size"][number, 0]), int(arrays["size"][number, 1])),
                ),
                jpeg=picture.tobytes(),
            )
            for number, (which, picture) in enumerate(zip(features, pictures, strict=True))
        ]
    )


def _check(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raises ValueError, TypeError or LookupError where an array is missing or does not fit the others."""
    count = len(arrays["flight"])
    shapes: dict[str, tuple[type, tuple[int, ...]]] = {
        "flight": (np.int64, (count,)),
        "glance": (np.float32, (count, GLANCE[0] * GLANCE[1])),
        "size": (np.int64, (count, 2)),
        "count": (np.int64, (count,)),
        "points": (np.float32, (int(arrays["count"].sum()), 2)),
        "words": (np.uint8, (int(arrays["count"].sum()), 32)),
        "length": (np.int64, (count,)),
        "jpeg": (np.uint8, (int(arrays["length"].sum()),)),
    }
    for name, (kind, shape) in shapes.items():
        if arrays[name].dtype != kind or arrays[name].shape != shape:
            raise ValueError(name)
    sound = count > 0 and min(arrays["count"].min(), arrays["length"].min(), arrays["flight"].min()) >= 0
    sound = sound and bool(((arrays["size"] >= 32) & (arrays["size"] <= _LONGEST)).all())
    numbers = (arrays["glance"], arrays["points"])
    if not sound or not all(
        np.isfinite(each).all() and np.abs(each).max(initial=0) < _LONGEST for each in numbers
    ):
        raise ValueError("values")
