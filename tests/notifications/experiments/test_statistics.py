"""The statistics of experiments, against statsmodels and SciPy."""

import math
import warnings

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.notifications.rules.experiment.statistics import (
    Sample,
    p_value,
    sample_ratio,
    sample_size,
    uplift,
    uplift_interval,
    wilson,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scipy import stats
    from statsmodels.stats.power import normal_sample_size_one_tail
    from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint, proportions_ztest

FIRST, OTHER = Sample(1_000, 200), Sample(1_000, 254)


@st.composite
def samples(draw: st.DrawFn, least: int = 0) -> Sample:
    exposed = draw(st.integers(max(1, least), 10**7))
    return Sample(exposed, draw(st.integers(least, exposed)))


def test_the_worked_example():
    assert uplift(FIRST, OTHER) == pytest.approx(0.27)
    low, high = uplift_interval(FIRST, OTHER) or (0, 0)
    assert (round(low, 3), round(high, 3)) == (0.063, 0.477)
    assert round(p_value(FIRST, OTHER) or 0, 4) == 0.0039
    assert sample_size(0.2, 0.27, 0.8, 0.05) == 941


@given(samples())
def test_intervals_of_rates(sample: Sample):
    low, high = wilson(sample) or (0, 0)
    assert (low, high) == pytest.approx(
        proportion_confint(sample.converted, sample.exposed, 0.05, "wilson"), rel=1e-9, abs=1e-12
    )
    assert 0 <= low <= sample.rate + 1e-12 <= high + 2e-12 <= 1 + 2e-12


@given(samples(), samples())
def test_p_values(first: Sample, other: Sample):
    mine = p_value(first, other)
    if first.converted + other.converted in (0, first.exposed + other.exposed):
        assert mine is None
        return
    _, theirs = proportions_ztest([other.converted, first.converted], [other.exposed, first.exposed])
    assert mine == pytest.approx(theirs, rel=1e-6, abs=1e-300)


@given(samples(least=1), samples(least=1))
def test_intervals_of_uplifts(first: Sample, other: Sample):
    """The interval of log(p2/p1) has the same variance: that of statsmodels, on its own scale, gives it."""
    assume(first.converted < first.exposed or other.converted < other.exposed)
    low, high = uplift_interval(first, other) or (0, 0)
    below, above = confint_proportions_2indep(
        other.converted, other.exposed, first.converted, first.exposed, compare="ratio", method="log"
    )
    ratio = other.rate / first.rate
    half = ratio * (math.log(above) - math.log(below)) / 2
    assert (low, high) == pytest.approx((ratio - 1 - half, ratio - 1 + half), rel=1e-6, abs=1e-6 * ratio)
    assert uplift(first, other) == pytest.approx((low + high) / 2, rel=1e-6, abs=1e-9 * ratio)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 1_000)), min_size=2, max_size=10))
def test_sample_ratios(arms: list[tuple[int, int]]):
    exposed, weights = [each[0] for each in arms], [each[1] for each in arms]
    total = sum(exposed)
    if not total:
        assert sample_ratio(exposed, weights) is None
        return
    expected = [total * weight / sum(weights) for weight in weights]
    theirs = stats.chisquare(exposed, expected).pvalue
    assert sample_ratio(exposed, weights) == pytest.approx(theirs, rel=1e-6, abs=1e-12)


@given(
    st.floats(0.001, 0.9),
    st.floats(-0.9, 2).filter(lambda change: abs(change) > 0.001),
    st.floats(0.5, 0.99),
    st.floats(0.001, 0.2),
)
def test_sample_sizes(baseline: float, change: float, power: float, alpha: float):
    after = baseline * (1 + change)
    assume(after < 0.999)
    std = math.sqrt(baseline * (1 - baseline) + after * (1 - after))
    theirs = normal_sample_size_one_tail(abs(after - baseline), power, alpha / 2, std, std)
    assert sample_size(baseline, change, power, alpha) == pytest.approx(theirs, rel=1e-6, abs=1.001)


def test_what_has_no_answer():
    nobody, nothing, everybody = Sample(0, 0), Sample(10, 0), Sample(10, 10)
    assert wilson(nobody) is None
    assert uplift(nothing, OTHER) is None
    assert uplift(FIRST, nobody) is None
    assert uplift(FIRST, nothing) == -1
    assert uplift_interval(FIRST, nothing) is None
    assert p_value(FIRST, nobody) is None
    assert p_value(everybody, everybody) is None
    with pytest.raises(ValueError, match="fewer than two"):
        sample_ratio([1], [1])
    for baseline, change in ((0.5, 1.0), (0.5, 0.0), (0.0, 0.1), (0.5, -1.0)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            sample_size(baseline, change, 0.8, 0.05)
