"""The curves of an evaluation as SVG, readable on a light and on a dark page.

No text of a figure comes from outside: a data set's names would be read as mathematics by matplotlib.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from train.evaluation.scored import Bools, Floats, Scored

_INK, _LINE, _RED, _AMBER, _GREY = "#8a8f98", "#2f81f7", "#e5534b", "#d9a400", "#9aa0a6"
# One file for the same figure, however often it is drawn; letters stay letters; no path is stored whole.
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "skerry",
    "svg.fonttype": "none",
    "path.simplify": True,
    "font.size": 10,
}
_POINTS = 2000  # of a line; more is not seen


def roc_svg(scored: Sequence[Scored], threshold: float | None) -> bytes:
    """All counted frames pooled; a dot where the threshold stands."""
    truth, scores = pooled(scored)
    wrong, right, levels = roc_curve(truth, scores)
    figure, axes = _square("false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle=":")
    axes.plot(*_thin(wrong, right), color=_LINE)
    _dot(axes, wrong, right, levels, threshold)
    return _svg(figure)


def pr_svg(scored: Sequence[Scored], threshold: float | None) -> bytes:
    truth, scores = pooled(scored)
    precision, recall, levels = precision_recall_curve(truth, scores)
    figure, axes = _square("recall", "precision")
    axes.axhline(float(truth.mean()), color=_GREY, linewidth=1, linestyle=":")
    axes.step(*_thin(recall, precision), where="post", color=_LINE)
    # rising levels: the first at or above the threshold is where it stands
    if threshold is not None and len(levels) and threshold <= levels[-1]:
        place = int(np.searchsorted(levels, threshold))
        axes.plot(recall[place], precision[place], "o", color=_RED)
    return _svg(figure)


def timeline_svg(scored: Scored, threshold: float | None) -> bytes:
    """Causal score over seconds; truth shaded, the threshold a line."""
    figure, axes = _axes((11, 2.0))
    for begin, end in runs(scored.abnormal & scored.counted):
        axes.axvspan(*_span(scored, begin, end), color=_RED, alpha=0.22, linewidth=0)
    for begin, end in runs(~scored.counted):
        axes.axvspan(*_span(scored, begin, end), color=_GREY, alpha=0.22, linewidth=0)
    known = np.isfinite(scored.causal)
    axes.plot(*_envelope(scored.stream_s[known], scored.causal[known]), color=_LINE, linewidth=1.2)
    if threshold is not None:
        axes.axhline(threshold, color=_AMBER, linewidth=1.2, linestyle="--")
    axes.set_xlim(float(scored.stream_s[0]), float(scored.stream_s[-1]) + scored.period_s)
    axes.set_xlabel("seconds")
    axes.set_ylabel("score")
    return _svg(figure)


def pooled(scored: Sequence[Scored]) -> tuple[Bools, Floats]:
    """Truth and causal scores of every counted frame; one still without evidence ranks below all others."""
    truth = np.concatenate([each.abnormal[each.counted] for each in scored])
    scores = np.concatenate([each.causal[each.counted] for each in scored])
    known = scores[np.isfinite(scores)]
    lowest = float(known.min()) if len(known) else 0.0
    return truth, np.where(np.isfinite(scores), scores, lowest - 1)


def runs(flags: Bools) -> Iterator[tuple[int, int]]:
    """First and last place of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    yield from ((int(first), int(after) - 1) for first, after in edges.reshape(-1, 2))


def _span(scored: Scored, first: int, last: int) -> tuple[float, float]:
    return float(scored.stream_s[first]), float(scored.stream_s[last]) + scored.period_s


def _thin(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    places = np.unique(np.linspace(0, len(x) - 1, min(len(x), _POINTS)).round().astype(int))
    return x[places], y[places]


def _envelope(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """At most so many points, each stretch's smallest and largest among them: no alarm is thinned away."""
    if len(x) <= _POINTS:
        return x, y
    places: set[int] = set()
    for stretch in np.array_split(np.arange(len(x)), _POINTS // 2):
        places |= {int(stretch[y[stretch].argmin()]), int(stretch[y[stretch].argmax()])}
    kept = np.array(sorted(places))
    return x[kept], y[kept]


def _dot(
    axes: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    levels: NDArray[np.float64],
    threshold: float | None,
) -> None:
    """`levels` fall; the last that is not below the threshold is where it stands."""
    if threshold is not None:
        place = int((levels >= threshold).sum()) - 1
        axes.plot(x[max(place, 0)], y[max(place, 0)], "o", color=_RED)


def _square(across: str, up: str) -> tuple[Figure, Axes]:
    figure, axes = _axes((4.2, 4.0))
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=across, ylabel=up)
    return figure, axes


def _axes(inches: tuple[float, float]) -> tuple[Figure, Axes]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=inches, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_INK)
    axes.tick_params(colors=_INK)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)
    axes.grid(color=_INK, alpha=0.2, linewidth=0.6)
    return figure, axes


def _svg(figure: Figure) -> bytes:
    data = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(data, format="svg", transparent=True, metadata={"Date": None})
    return data.getvalue()
