"""What is asked of the scores of bags. Scores are bags x segments; no term crosses the border of a bag.

Every term is a mean over bags or pairs, so that it means the same for any batch. The released code of the
ranking loss sums over the anomalous bags of a batch and leaves the weights' own term undivided: divided by
the 30 bags of its batch, that is the form here (see `MilRecipe.decay`).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

Pairing = Literal["all", "one-to-one"]

SMOOTH = SPARSE = 8e-5  # weights of the published ranking loss


def hinge(anomalous: Tensor, normal: Tensor, pairing: Pairing) -> Tensor:
    """max(0, 1 - a + n) over the bags' highest scores: a must come to lie above n by 1.

    `all`: every anomalous bag against every normal one, as in the released code; `one-to-one`: each against
    its own partner, as in the paper. Both are bags x segments.
    """
    above, below = anomalous.amax(1), normal.amax(1)
    if pairing == "all":
        return (1 - above[:, None] + below[None, :]).clamp(min=0).mean()
    return (1 - above + below).clamp(min=0).mean()


def smoothness(scores: Tensor, valid: Tensor | None = None) -> Tensor:
    """Squared differences of neighbours, 31 in a bag of 32, summed over the bag; both must be valid."""
    squared = (scores[:, 1:] - scores[:, :-1]).square()
    return (squared if valid is None else squared * valid[:, 1:]).sum(1).mean()


def sparsity(scores: Tensor) -> Tensor:
    """Sum over the bag: little of an anomalous video is anomalous."""
    return scores.sum(1).mean()


def ranking(
    anomalous: Tensor,
    normal: Tensor,
    pairing: Pairing,
    smooth: float = SMOOTH,
    sparse: float = SPARSE,
    valid: Tensor | None = None,
) -> Tensor:
    """The published loss of scores from 0 to 1; smoothness and sparsity are of anomalous bags alone.

    `valid`: which places of the anomalous bags hold something; the score of what is only filling is 0.
    """
    even = smooth * smoothness(anomalous, valid)
    return hinge(anomalous, normal, pairing) + even + sparse * sparsity(anomalous)


def top_mean(values: Tensor, valid: Tensor, share: int = 16) -> Tensor:
    """Mean of a bag's highest values: one, and another for every `share` that it has. Bags x length -> bags.

    `valid`: which places of a bag hold something; the others are filling.
    """
    count = valid.sum(1) // share + 1
    ordered = values.masked_fill(~valid, -torch.inf).sort(1, descending=True).values
    taken = torch.arange(values.shape[1], device=values.device)[None] < count[:, None]
    return ordered.masked_fill(~taken, 0).sum(1) / count


def bag_cross_entropy(logits: Tensor, valid: Tensor, anomalous: Tensor) -> Tensor:
    """Cross entropy between each bag's label and the mean of its highest logits."""
    return binary_cross_entropy_with_logits(top_mean(logits, valid), anomalous.float())


def clip_cross_entropy(logits: Tensor, valid: Tensor, anomalous: Tensor) -> Tensor:
    """Cross entropy between each clip and its bag's label, each bag counting the same.

    Most clips of an anomalous bag are normal ones and so wrongly labelled; but such clips stand in normal
    bags too, and what is alike in both classes cancels: what is left points to what only anomalous bags have.
    """
    wanted = anomalous.float()[:, None].expand_as(logits)
    each = binary_cross_entropy_with_logits(logits, wanted, reduction="none") * valid
    return (each.sum(1) / valid.sum(1)).mean()


def prototype_contrast(
    likeness: Tensor, logits: Tensor, valid: Tensor, anomalous: Tensor, margin: float = 1.0
) -> Tensor:
    """Only the extremes teach the prototypes: what stands highest in anomalous bags shall be more like the
    foreign prototypes than like the usual ones, what stands highest in normal bags less.

    `likeness`: bags x length x 2, to the nearest usual and the nearest foreign prototype, as logits.
    """
    gap = likeness[..., 1] - likeness[..., 0]
    highest = logits.masked_fill(~valid, -torch.inf).argmax(1, keepdim=True)
    of_highest = gap.gather(1, highest)[:, 0]
    wanted = torch.where(anomalous, 1.0, -1.0)
    return softplus(margin - wanted * of_highest).mean()
