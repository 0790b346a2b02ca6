"""The privacy direction: where the residual stream goes when an answer keeps the norm, less where it goes otherwise.

A difference of means over units (`contrast`), one vector a layer, towards the safe side. Its sign is therefore fixed
(the paper's scripts take the first principal component of one side alone and leave the sign free). How far it can be
trusted is measured with it: how alike two halves of the units find it, and what chance finds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from discretion.errors import DiscretionError
from discretion.mechanism.capture import Tokens, gathered
from discretion.mechanism.contrast import Answer, Contrast
from discretion.models.local import LocalModel

Array = NDArray[np.float64]
_SPLITS, _NULLS = 100, 200
_NONE, _LARGEST = 1e-12, 1000.0


@dataclass(frozen=True, eq=False)
class Differences:
    """Each unit's mean safe activation minus its mean leaky one: (units, layers, width), and the units' names."""

    units: tuple[str, ...]
    values: Array
    balanced: bool

    @property
    def direction(self) -> Array:
        """(layers, width), towards the safe side; its length is that of the mean difference."""
        return np.asarray(self.values.mean(axis=0))

    def part(self, chosen: Sequence[int]) -> "Differences":
        """Some of the units."""
        return Differences(tuple(self.units[place] for place in chosen), self.values[list(chosen)], self.balanced)


class Cosines(NamedTuple):
    """One number a layer.

    Attributes:
        raw: cosine of two directions, each from all units. The noise that both have in common makes it larger, what
            each has of its own smaller: equal directions need not come to 1.
        low, high: its interval (jackknife over units).
        corrected: without that noise: every unit's difference times the other units' differences of the other model
            alone, over the root of the same within each model; NaN where units do not agree on a direction.
        corrected_low, corrected_high: its interval (jackknife over units).
        ceiling: the root of the product of both split-half cosines: how well halves agree.
        by_chance: the 95th percentile of the absolute cosine when one side's labels are shuffled.
    """

    raw: Array
    low: Array
    high: Array
    corrected: Array
    corrected_low: Array
    corrected_high: Array
    ceiling: Array
    by_chance: Array


def differences(model: LocalModel, contrasts: Sequence[Contrast]) -> Differences:
    """What `model` computes over both kinds of answers; prompts that answers share are computed once.

    Raises:
        DiscretionError: no contrasts, or what `capture` raises.
    """
    if not contrasts:
        raise DiscretionError("no scenario has both a safe and a leaky answer, so there is no direction to find")
    answers = [answer for contrast in contrasts for answer in (*contrast.safe, *contrast.leaky)]
    residual = gathered(model, [tokens(model, answer) for answer in answers]).double().numpy()
    values, place = [], 0
    for contrast in contrasts:
        middle, end = place + len(contrast.safe), place + len(contrast.safe) + len(contrast.leaky)
        values.append(residual[place:middle].mean(axis=0) - residual[middle:end].mean(axis=0))
        place = end
    return Differences(
        tuple(contrast.unit for contrast in contrasts),
        np.stack(values),
        all(contrast.balanced for contrast in contrasts),
    )


def tokens(model: LocalModel, answer: Answer) -> Tokens:
    """The answer as the model's tokens.

    Raises:
        DiscretionError: nothing is left of it.
    """
    prompt, response = model.encode_turns(answer.turns, answer.text)
    if not response:
        raise DiscretionError(f"the answer {answer.text!r} has no token of its own for {model.name}")
    return Tokens(prompt, response)


def split_units(units: Sequence[str], seed: int) -> tuple[list[int], list[int]]:
    """Places of the units that a direction is fitted on, and of those that it is tried on: two halves."""
    order = np.random.default_rng(seed).permutation(len(units)).tolist()
    half = (len(order) + 1) // 2
    return sorted(order[:half]), sorted(order[half:])


def split_half(values: Array, seed: int = 0) -> Array:
    """Mean cosine between the directions of two halves of the units, (layers,): the noise ceiling of a half."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(_SPLITS):
        one, other = _halves(len(values), rng)
        found.append(cosine(values[one].mean(axis=0), values[other].mean(axis=0)))
    return _mean(np.array(found))


def compare(first: Differences, second: Differences, seed: int = 0) -> Cosines:
    """How alike two models' directions are, over the same units.

    Raises:
        DiscretionError: the units differ, or are fewer than four.
    """
    if first.units != second.units or len(first.units) < 4:
        raise DiscretionError("two directions are compared over the same units, four or more")
    one, other, count = first.values, second.values, len(first.units)
    rng = np.random.default_rng(seed)
    sums = [one.sum(axis=0), other.sum(axis=0)]
    raw, low, high = _jackknife(
        cosine(*sums), np.stack([cosine(sums[0] - a, sums[1] - b) for a, b in zip(one, other, strict=True)])
    )
    fewer = [_without_noise(*(np.delete(values, unit, axis=0) for values in (one, other))) for unit in range(count)]
    corrected = _jackknife(_without_noise(one, other), np.stack(fewer))
    halves = [np.maximum(split_half(values, seed), 0) for values in (one, other)]
    flips = rng.choice([-1.0, 1.0], size=(_NULLS, count))
    chance = _highest([np.abs(cosine(np.tensordot(flip, one, 1) / count, second.direction)) for flip in flips])
    return Cosines(raw, low, high, *corrected, np.sqrt(np.prod(halves, axis=0)), chance)


def _highest(values: Sequence[Array]) -> Array:
    """The 95th percentile of each column; NaN where there is no number."""
    columns = np.array(values)
    found: Array = np.percentile(np.nan_to_num(columns), 95, axis=0)
    return np.where(np.isnan(columns).all(axis=0), np.nan, found)


def _without_noise(one: Array, other: Array) -> Array:
    """Cosine of the means behind two sets of differences (units, layers, width), from products of different units."""
    products = []
    for first, second in ((one, other), (one, one), (other, other)):
        whole = (first.sum(axis=0) * second.sum(axis=0)).sum(axis=-1)
        products.append(whole - np.einsum("ulw,ulw->l", first, second))
    across, within_one, within_other = products
    # A length of noise alone comes out at 0 or below; two of them must not multiply to a direction.
    lengths = np.sqrt(np.maximum(within_one, 0) * np.maximum(within_other, 0))
    found: Array = np.divide(across, lengths, out=np.full_like(across, np.nan), where=lengths > _NONE)
    return found


def _jackknife(whole: Array, without: Array) -> tuple[Array, Array, Array]:
    """A number a layer and its 95% bounds, from what it is without each of the units: (units, layers).

    NaN, all three, where it is none without some unit: it hangs on that one.
    """
    count = len(without)
    whole = np.where(np.isnan(without).any(axis=0), np.nan, whole)
    spread = np.sqrt((count - 1) / count * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    reach = stats.t.ppf(0.975, count - 1) * spread
    return whole, whole - reach, whole + reach  # NaN spreads


class Separation(NamedTuple):
    """How units that a direction was not fitted on lie along it, one number a layer.

    Attributes:
        effect: mean projection of a unit's difference over its standard deviation, at most 1000.
        share: of the units, how many lie on the right side.
        p_value: of the null that a unit is as likely to lie on either side (sign test, one-sided).
    """

    effect: Array
    share: Array
    p_value: Array


def separation(direction: Array, held_out: Array) -> Separation:
    """`direction` (layers, width) tried on `held_out` (units, layers, width)."""
    length = np.linalg.norm(direction, axis=-1)
    unit = np.divide(direction, length[:, None], out=np.zeros_like(direction), where=length[:, None] > _NONE)
    projected = np.einsum("ulw,lw->ul", held_out, unit)
    spread = projected.std(axis=0, ddof=1) if len(projected) > 1 else np.zeros(projected.shape[1])
    mean = projected.mean(axis=0)
    spread = np.maximum(spread, np.abs(mean) / _LARGEST)  # units that agree to the last digit
    effect = np.divide(mean, spread, out=np.zeros_like(spread), where=spread > _NONE)
    right = (projected > _NONE).sum(axis=0)
    ties = (np.abs(projected) <= _NONE).sum(axis=0)
    counted = np.maximum(len(projected) - ties, 0)
    p_value = np.where(counted > 0, stats.binom.sf(right - 1, np.maximum(counted, 1), 0.5), 1.0)
    return Separation(effect, right / max(len(projected), 1), p_value)


def best_layer(values: Array, seed: int = 0) -> int:
    """The layer whose direction separates these units best: fitted on one half, tried on the other, in turns."""
    rng = np.random.default_rng(seed)
    effects = []
    for _ in range(20):
        one, other = _halves(len(values), rng)
        for fit, trial in ((one, other), (other, one)):
            effects.append(separation(values[fit].mean(axis=0), values[trial]).effect)
    return int(np.argmax(_mean(np.array(effects))))


def cosine(one: Array, other: Array) -> Array:
    """Over the last axis; NaN where one of the two is nothing."""
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    dots = (one * other).sum(axis=-1)
    found: Array = np.divide(dots, lengths, out=np.full_like(dots, np.nan), where=lengths > _NONE)
    return found


def _halves(count: int, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    order = rng.permutation(count)
    return order[: count // 2], order[count // 2 :]


def _mean(values: Array) -> Array:
    """Mean over the first axis, of the numbers that are there; NaN if there are none."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=0)
    mean: Array = np.divide(total, known.sum(axis=0), out=np.full(total.shape, np.nan), where=known.any(axis=0))
    return mean
