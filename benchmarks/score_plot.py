"""Scores over time as a picture: nothing of the footage is in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.mil_scores import Told
from train.evaluation.figures import runs


def plot_bags(shown: tuple[Sequence[Told], float, float], path: Path) -> None:
    """One panel a bag; `shown`: bags, the threshold, seconds between two scores."""
    bags, threshold, period_s = shown
    figure = Figure(figsize=(8, 2.2 * len(bags)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = np.atleast_1d(figure.subplots(len(bags), 1, sharey=True))
    for axes, bag in zip(panels, bags, strict=True):
        edges = np.arange(len(bag.truth) + 1) * period_s
        for first, last in runs(bag.truth):
            axes.axvspan(first * period_s, (last + 1) * period_s, color="#e5534b", alpha=0.22, linewidth=0)
        axes.stairs(bag.streaming, edges, baseline=None, color="#2f81f7", linewidth=1.5, label="streaming")
        axes.stairs(
            bag.offline, edges, baseline=None, color="#8a8f98", linewidth=1.5, linestyle=":", label="offline"
        )
        axes.axhline(threshold, color="#d9a400", linestyle="--", linewidth=1.2, label="threshold")
        axes.set_title("a fight in it (shaded)" if bag.anomalous else "no fight", loc="left", fontsize=10)
        axes.set_ylabel("logit")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(loc="upper left", fontsize=8, frameon=False)
    panels[-1].set_xlabel("seconds of clips, one after another")
    figure.savefig(path, metadata={"Software": None})
