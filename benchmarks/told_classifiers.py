"""Classifiers of scikit-learn on the roots of features, told the label of each clip: what a head might reach.

One setting each, none sought; scores are smoothed over one clip, which did better on the parts to develop on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor

from benchmarks.mil_scores import Trained
from edge.clips import ExtractorSpec
from train.bags import Bag
from train.mil import Head
from train.mil_fit import clip_spec
from train.mil_recipes import MilRecipe
from train.whitening import root

AXES = 60  # directions in which clips differ most, each with spread 1


def _on_directions(classifier: Any, axes: int) -> Any:
    directions = PCA(axes, whiten=True, svd_solver="randomized", random_state=0)
    return make_pipeline(StandardScaler(), directions, classifier)


CLASSIFIERS: dict[str, Callable[[int], Any]] = {  # for so many directions
    "logistic": lambda axes: _on_directions(LogisticRegression(C=0.003, max_iter=2000), axes),
    "svm": lambda axes: _on_directions(SVC(C=1.0, gamma=0.3 / axes), axes),  # radial
    "trees": lambda _: ExtraTreesClassifier(300, min_samples_leaf=5, max_features=0.1, random_state=0),
}


class ClassifierHead(Head):
    history = 1

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self._classifier = classifier

    def forward(self, features: Tensor) -> Tensor:
        return self.sequence(features)[:, -1]

    def sequence(self, features: Tensor) -> Tensor:
        clips = root(features).reshape(-1, features.shape[-1]).numpy()
        if hasattr(self._classifier, "decision_function"):
            logits = torch.from_numpy(self._classifier.decision_function(clips))
        else:
            logits = torch.logit(torch.from_numpy(self._classifier.predict_proba(clips)[:, 1]), eps=1e-3)
        return logits.float().reshape(features.shape[:-1])


def classified(name: str, recipe: MilRecipe, train: Sequence[Bag], extractor: ExtractorSpec) -> Trained:
    """Of bags whose clips are all of one kind (`told_apart`); a clip that is in several counts once."""
    seen = {clip.tobytes(): (clip, bag.anomalous) for bag in train for clip in bag.features}
    clips, labels = zip(*seen.values(), strict=True)
    classifier = CLASSIFIERS[name](min(AXES, extractor.width))
    classifier.fit(root(torch.from_numpy(np.stack(clips))).numpy(), np.array(labels))
    return Trained(recipe, ClassifierHead(classifier), clip_spec(recipe, extractor, train))
