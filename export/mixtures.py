"""Which layers of an extractor stay in float, where all of them in integers say too much else.

Roundings of single layers are nearly independent: what they take from the cosine of a feature adds up. So
each layer is made of integers alone once, and those go back to float that take most, until what the others
take fits; the gate has the last word, and where it says no, the room is halved. Time has no say in the order:
every change between integers and float costs some, so few layers in float are better than many cheap ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from export.layers import Layer

Draft = Callable[[Collection[str]], bytes]  # names in float -> model
ROOMS = (1.0, 0.5, 0.25, 0.12)  # shares of what the gate allows the cosine to lose


def fastest(
    there: Sequence[Layer],
    draft: Draft,
    harm: Callable[[], Mapping[str, float]],
    allowed: float,
    passes: Callable[[bytes], bool],
) -> tuple[frozenset[str], bytes] | None:
    """(what is in float, the model) of the first that passes, fewest in float first; None where none does.

    `harm`: what each layer alone takes from the cosine; asked only where all in integers do not pass.
    """
    data = draft(())
    if passes(data):
        return frozenset(), data
    for in_float in _tries(there, harm(), allowed):
        data = draft(in_float)
        if passes(data):
            return in_float, data
    return None


def _tries(there: Sequence[Layer], harm: Mapping[str, float], allowed: float) -> Iterator[frozenset[str]]:
    worst = sorted(there, key=lambda layer: harm.get(layer.name, 0.0), reverse=True)
    tried = {0, len(there)}
    for room in ROOMS:
        count, left = 0, sum(harm.values())
        while count < len(worst) and left > room * allowed:
            left -= harm.get(worst[count].name, 0.0)
            count += 1
        if count not in tried:
            tried.add(count)
            yield frozenset(layer.name for layer in worst[:count])
