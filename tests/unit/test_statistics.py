"""Intervals and tests against other implementations and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from qnn_robustness.evaluation.statistics import (
    auc,
    bootstrap_mean,
    mcnemar,
    median_interval,
    paired_difference,
    sign_test,
    wilcoxon,
    wilson,
)


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(counts):
    successes, samples = counts
    expected = stats.binomtest(successes, samples).proportion_ci(0.95, method="wilson")
    assert wilson(successes, samples) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("samples", [1, 7, 50, 200, 1000])
def test_wilson_ends_exactly_where_all_or_none_succeed(samples):
    assert wilson(0, samples)[0] == 0
    assert wilson(samples, samples)[1] == 1


def test_wilson_without_samples_is_undefined():
    assert np.isnan(wilson(0, 0)).all()


def test_mcnemar_is_the_binomial_test_of_the_discordant_pairs():
    first = np.array([True] * 8 + [False] * 2 + [True] * 50)
    second = np.array([False] * 8 + [True] * 2 + [True] * 50)
    tail = sum(stats.binom.pmf(k, 10, 0.5) for k in (0, 1, 2))
    assert mcnemar(first, second) == pytest.approx(2 * tail)
    assert mcnemar(first, first) == 1.0


# Newcombe (1998), Statistics in Medicine 17:2635, table II, method 10.
@pytest.mark.parametrize(("table", "limits"), [((36, 12, 2, 0), (0.0569, 0.3404)), ((54, 0, 0, 0), (-0.0664, 0.0664))])
def test_paired_difference_agrees_with_newcombe(table, limits):
    difference, low, high = paired_difference(*outcomes(*table))
    assert difference == pytest.approx((table[1] - table[2]) / sum(table))
    assert (low, high) == pytest.approx(limits, abs=1e-4)


def outcomes(a: int, b: int, c: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    first = np.array([True] * (a + b) + [False] * (c + d))
    second = np.array([True] * a + [False] * b + [True] * c + [False] * d)
    return first, second


@pytest.mark.parametrize("shares", [(0.6, 0.2, 0.1, 0.1), (0.85, 0.1, 0.02, 0.03), (0.2, 0.05, 0.05, 0.7)])
def test_paired_interval_covers_the_true_difference(shares):
    tables = np.random.default_rng(0).multinomial(100, shares, size=1000)
    truth = shares[1] - shares[2]
    limits = np.array([paired_difference(*outcomes(*table))[1:] for table in tables])
    covered = ((limits[:, 0] <= truth) & (truth <= limits[:, 1])).mean()
    assert stats.binomtest(int(covered * 1000), 1000, 0.95, alternative="less").pvalue > 1e-3


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_paired_difference_turns_round_with_its_arguments(pairs):
    first, second = np.array(pairs, bool).T
    difference, low, high = paired_difference(first, second)
    backward = paired_difference(second, first)
    assert (difference, low, high) == pytest.approx((-backward[0], -backward[2], -backward[1]), abs=1e-12)
    assert -1 <= low <= difference + 1e-12 <= high + 2e-12 <= 1 + 2e-12


def test_the_bootstrap_of_a_mean_is_close_to_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(3, 2, 400)
    low, high = bootstrap_mean(values)
    half = 1.96 * values.std(ddof=1) / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)
    assert bootstrap_mean(np.full(5, 0.25)) == (0.25, 0.25)


@pytest.mark.parametrize("count", [6, 9, 20, 101])
def test_the_interval_of_a_median_is_the_tightest_that_the_sign_test_allows(count: int) -> None:
    """Hettmansperger's table has (2nd, 8th) of 9 and (6th, 15th) of 20 values, by another route: the test itself."""
    values = np.arange(count, dtype=float)
    low, high = median_interval(values)
    for end, step in ((low, 1), (high, -1)):
        assert sign_test(values, np.full(count, end + step * 0.5)) > 0.05
        assert sign_test(values, np.full(count, end - step * 0.5)) <= 0.05
    assert median_interval(np.array([1, 2, 3, np.inf, np.inf, np.inf, np.inf])) == (1, np.inf)
    assert median_interval(values[:5]) == (-np.inf, np.inf)
    assert np.isnan(median_interval(values[:0])).all()


def test_paired_tests_of_distances() -> None:
    first, second = np.array([1, 2, np.inf, np.inf, 5.0]), np.array([2, 3, 4, np.inf, 6.0])
    assert sign_test(first, second) == pytest.approx(stats.binomtest(1, 4).pvalue)
    assert wilcoxon(first, second) == pytest.approx(stats.wilcoxon(np.array([-1.0, -1, -1])).pvalue)
    assert sign_test(first, first) == wilcoxon(first, first) == 1


def test_the_area_under_the_curve_counts_pairs() -> None:
    scores, positive = np.array([3.0, 1, 2, 2, 0]), np.array([True, True, False, False, False])
    area, low, high = auc(scores, positive)
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]]
    assert area == pytest.approx(np.mean(pairs))
    assert 0 <= low < area < high <= 1
    assert np.isnan(auc(scores, np.zeros(5, bool))).all()


def test_the_interval_of_the_area_has_a_width_at_its_ends_and_hanleys_for_many_samples() -> None:
    area, low, high = auc(np.array([3.0, 2, 1]), np.array([True, True, False]))
    assert (area, high) == (1, 1)
    assert low < 0.5  # one negative sample proves little
    assert auc(np.array([1.0, 2, 3]), np.array([True, True, False]))[:2] == (0, 0)
    random = np.random.default_rng(0)
    positive = np.arange(4000) % 2 == 0
    area, low, high = auc(random.normal(positive, 1), positive)
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    error = np.sqrt((area * (1 - area) + 1999 * (q1 - area**2) + 1999 * (q2 - area**2)) / 2000**2)
    assert (low, high) == pytest.approx((area - 1.96 * error, area + 1.96 * error), abs=5e-4)
