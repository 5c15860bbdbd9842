"""Laws in closed form against textbook distributions and against one another."""

import numpy as np
import pytest
from scipy import stats

from ssagrad import NetworkError, exact

TIMES = np.array([0.0, 0.3, 1.0, 4.0])


def padded(probabilities, size):
    return np.pad(probabilities, (0, max(0, size - len(probabilities))))[:size]


def same_law(law, row, expected):
    size = max(len(expected), law.probabilities.shape[1])
    return np.abs(padded(law.probabilities[row], size) - padded(expected, size)).max() < 1e-13


def test_immigration_and_death_is_poisson_plus_binomial():
    """Newcomers are Poisson, survivors binomial."""
    law = exact.birth_death(TIMES, immigration=10.0, death=2.0, initial=5)
    for row, time in enumerate(TIMES):
        survival = np.exp(-2 * time)
        arrivals = stats.poisson.pmf(np.arange(100), 5 * (1 - survival))
        assert same_law(law, row, np.convolve(arrivals, stats.binom.pmf(np.arange(6), 5, survival)))


def test_pure_birth_is_negative_binomial():
    """Yule's process."""
    law = exact.birth_death(TIMES[:3], birth=1.5, initial=4)
    for row, time in enumerate(TIMES[:3]):
        expected = stats.nbinom.pmf(np.arange(law.probabilities.shape[1]) - 4, 4, np.exp(-1.5 * time))
        assert same_law(law, row, expected)


def test_pure_death_is_binomial():
    """Each molecule survives with probability e^{−death t}."""
    law = exact.birth_death(TIMES, death=0.7, initial=30)
    for row, time in enumerate(TIMES):
        assert same_law(law, row, stats.binom.pmf(np.arange(31), 30, np.exp(-0.7 * time)))


def test_births_alone_from_outside_are_poisson():
    """Immigration without birth or death."""
    law = exact.birth_death(TIMES, immigration=3.0)
    for row, time in enumerate(TIMES):
        assert same_law(law, row, stats.poisson.pmf(np.arange(80), 3 * time))


def test_birth_and_death_die_out_with_the_known_probability():
    """Extinction of a critical process by time t: (b t/(1 + b t))^initial; of a subcritical one, (death c)^initial."""
    critical = exact.birth_death(TIMES, birth=0.8, death=0.8, initial=3)
    assert np.allclose(critical.probabilities[:, 0], (0.8 * TIMES / (1 + 0.8 * TIMES)) ** 3, rtol=0, atol=1e-13)
    assert np.allclose(critical.variance, 3 * 2 * 0.8 * TIMES, rtol=1e-12, atol=0)
    growth = np.exp((0.5 - 0.9) * TIMES)
    subcritical = exact.birth_death(TIMES, birth=0.5, death=0.9, initial=3)
    assert np.allclose(subcritical.probabilities[:, 0], (0.9 * (growth - 1) / (0.5 * growth - 0.9)) ** 3, rtol=0, atol=1e-13)


@pytest.mark.parametrize("birth", [0.0, 1e-9, 0.5, 0.9, 1.1])
@pytest.mark.parametrize("immigration", [0.0, 2.5])
def test_mean_and_variance_are_those_of_the_probabilities(birth, immigration):
    """The closed forms of the moments agree with the law, and the law sums to 1, near special cases too."""
    law = exact.birth_death(TIMES, birth=birth, death=0.9, immigration=immigration, initial=6)
    counts = np.arange(law.probabilities.shape[1])
    mean = law.probabilities @ counts
    rounding = 1e-16 * len(counts)  # of every probability, times the number of them
    assert np.allclose(law.probabilities.sum(1), 1, rtol=0, atol=rounding)
    assert np.allclose(mean, law.mean, rtol=0, atol=rounding * len(counts))
    assert np.allclose(law.probabilities @ (counts - law.mean.mean()) ** 2 - (mean - law.mean.mean()) ** 2, law.variance, rtol=0, atol=rounding * len(counts) ** 2)


def test_isomers():
    """A sum of two binomials; it starts where it starts, keeps the number of molecules and ends in balance."""
    law = exact.isomerisation(TIMES, forward=1.0, backward=0.5, initial=4, initial_other=3)
    total = 1.5
    for row, time in enumerate(TIMES):
        stay = 1 / 3 + 2 / 3 * np.exp(-total * time)
        come = 1 / 3 * (1 - np.exp(-total * time))
        expected = np.convolve(stats.binom.pmf(np.arange(5), 4, stay), stats.binom.pmf(np.arange(4), 3, come))
        assert same_law(law, row, expected)
    assert np.allclose(law.mean[0], 4, rtol=0, atol=1e-12)
    late = exact.isomerisation([100.0], forward=1.0, backward=0.5, initial=9)
    assert np.allclose((late.mean[0], late.variance[0]), (3.0, 2.0), rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"times": [-1.0]}, "expected times"),
        ({"times": [1.0, 0.5]}, "expected times"),
        ({"times": [np.nan]}, "expected times"),
        ({"times": [1.0], "death": -0.1}, "expected a finite rate constant 'death' ≥ 0, received -0.1"),
        ({"times": [1.0], "birth": np.nan}, "expected a finite rate constant 'birth' ≥ 0, received nan"),
        ({"times": [1.0], "initial": 1.5}, "expected a whole number ≥ 0 of molecules at time 0, received 1.5"),
    ],
)
def test_impossible_arguments_are_refused(arguments, words):
    """Times that go back, negative rates, parts of molecules."""
    with pytest.raises(NetworkError, match=words):
        exact.birth_death(**arguments)
