"""Statistics of two proportions: intervals, tests, and the number of customers that an experiment needs.

Only the standard library is used; the tests compare each function with statsmodels.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final, NamedTuple

_NORMAL: Final = NormalDist()
Z95: Final = _NORMAL.inv_cdf(0.975)
"""Half the width of a 95 % interval, in standard deviations."""
UNLIKELY: Final = 0.001
"""A sample ratio with a lower p-value means that customers were not shared out as the weights say."""

Interval = tuple[float, float]


class Sample(NamedTuple):
    """Number of customers, and how many of them converted."""

    exposed: int
    converted: int

    @property
    def rate(self) -> float:
        """The share that converted.

        Raises:
            ZeroDivisionError: nobody was exposed.
        """
        return self.converted / self.exposed


def wilson(sample: Sample) -> Interval | None:
    """The Wilson 95 % interval of a rate; None where nobody was exposed."""
    if not sample.exposed:
        return None
    n, p, z2 = sample.exposed, sample.rate, Z95 * Z95
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def uplift(first: Sample, other: Sample) -> float | None:
    """The relative uplift of a rate over the first: 0.27 means 27 % more; None where the first has no conversion."""
    if not first.converted or not other.exposed:
        return None
    return other.rate / first.rate - 1


def uplift_interval(first: Sample, other: Sample) -> Interval | None:
    """The 95 % interval of the uplift by the delta method; None where one of the two has no conversion."""
    change = uplift(first, other)
    if change is None or not other.converted:
        return None
    spread = (1 - first.rate) / first.converted + (1 - other.rate) / other.converted
    half = Z95 * (1 + change) * math.sqrt(spread)
    return change - half, change + half


def p_value(first: Sample, other: Sample) -> float | None:
    """The two-sided p-value of a z-test with pooled variance; None where the rates cannot differ."""
    if not first.exposed or not other.exposed:
        return None
    pooled = (first.converted + other.converted) / (first.exposed + other.exposed)
    variance = pooled * (1 - pooled) * (1 / first.exposed + 1 / other.exposed)
    if variance <= 0:
        return None
    return math.erfc(abs(other.rate - first.rate) / math.sqrt(2 * variance))


def sample_ratio(exposed: Sequence[int], weights: Sequence[int]) -> float | None:
    """The p-value of the χ² test that customers were shared out by the weights; None where nobody was exposed.

    Raises:
        ValueError: there are fewer than two arms.
    """
    if len(exposed) < 2:
        raise ValueError("the ratio of fewer than two arms")
    total, parts = sum(exposed), sum(weights)
    if not total:
        return None
    expected = [total * weight / parts for weight in weights]
    statistic = sum((seen - due) ** 2 / due for seen, due in zip(exposed, expected, strict=True))
    return _chi_square_tail(statistic, len(exposed) - 1)


def _chi_square_tail(statistic: float, degrees: int) -> float:
    """The probability that χ² with so many degrees of freedom exceeds a value: a finite sum for whole degrees."""
    half = statistic / 2
    if half <= 0:
        return 1.0
    is_even = degrees % 2 == 0
    tail = 0.0 if is_even else math.erfc(math.sqrt(half))
    for term in range(degrees // 2):
        power = term if is_even else term + 0.5
        tail += math.exp(power * math.log(half) - half - math.lgamma(power + 1))
    return min(1.0, tail)


def sample_size(baseline: float, change: float, power: float, alpha: float) -> int:
    """Customers per arm that show a relative uplift over a baseline rate with that power, at a two-sided level alpha.

    The variances are those of the two rates.

    Raises:
        ValueError: the rate after the uplift is not between 0 and 1.
    """
    after = baseline * (1 + change)
    if not (0 < baseline < 1 and 0 < after < 1) or after == baseline:
        raise ValueError("both rates have to be between 0 and 1, and differ")
    needed = _NORMAL.inv_cdf(1 - alpha / 2) + _NORMAL.inv_cdf(power)
    spread = baseline * (1 - baseline) + after * (1 - after)
    return math.ceil(needed * needed * spread / (after - baseline) ** 2)
