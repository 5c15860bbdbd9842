"""Means and variances of the simulator against exact values: 17 systems, 25 times each, all species.

Exact values are closed forms, moment equations or the master equation, chosen per system; they are compared with each other in
tests/unit/exact. Every test is one claim about all means and variances of a system (see the rule in support.py). The number of paths was chosen
from the exact variances so that the means are known to the standard error in the table (in parts of the largest) and the variances to 2 %.
"""

import jax
import numpy as np
import pytest
from support import (
    assert_mean,
    assert_moments,
    death_rate_low,
    frozen_paths,
    keeps_the_clock,
    reads_after,
    repeated_paths,
    right_but_slow,
)

from ssagrad import Network, exact, models, simulate

NUM_TIMES = 25


def closed_form(law):
    return law.mean[:, None], law.variance[:, None]


def moment_equations(model):
    moments = exact.linear_moments(*model[:4])
    return moments.mean, np.diagonal(moments.covariance, axis1=1, axis2=2)


def master_equation(model, **bounds):
    law = exact.MasterEquation.build(model.network, model.initial_counts, bounds=bounds).solve(model.parameters, model.times)
    return law.mean(), law.variance()


def at_times(model, horizon):
    return model._replace(times=np.linspace(0, horizon, NUM_TIMES + 1)[1:])


def network(text, parameters, initial_counts, horizon, **propensities):
    model = models.Model(Network.from_text(text, propensities=propensities), parameters, initial_counts, np.zeros(0), "made for this test")
    return at_times(model, horizon)


def self_repression(counts, parameters):
    return parameters["production"] / (1 + (counts["X"] / parameters["threshold"]) ** 2)


def immigration_death():
    model = at_times(models.immigration_death(), 40.0)
    return model, closed_form(exact.birth_death(model.times, **model.parameters))


def birth_death():
    model = at_times(models.birth_death(), 50.0)
    return model, closed_form(exact.birth_death(model.times, **model.parameters, initial=100))


def pure_birth():
    model = network("X -> 2 X @ birth", {"birth": 1.0}, {"X": 10}, 2.0)
    return model, closed_form(exact.birth_death(model.times, birth=1.0, initial=10))


def pure_death():
    model = network("X -> 0 @ death", {"death": 1.0}, {"X": 1000}, 5.0)
    return model, closed_form(exact.birth_death(model.times, death=1.0, initial=1000))


def birth_death_immigration():
    parameters = {"birth": 0.6, "death": 1.0, "immigration": 3.0}
    model = network("X -> 2 X @ birth; X -> 0 @ death; 0 -> X @ immigration", parameters, {"X": 20}, 6.0)
    return model, closed_form(exact.birth_death(model.times, **parameters, initial=20))


def small_population():
    model = network("0 -> X @ immigration; X -> 0 @ death", {"immigration": 10.0, "death": 1.0}, {"X": 0}, 4.0)
    return model, closed_form(exact.birth_death(model.times, immigration=10.0, death=1.0))


def isomerisation():
    model = at_times(models.isomerisation(), 4.0)
    law = exact.isomerisation(model.times, **model.parameters, initial=20)
    return model, (np.stack([law.mean, 20 - law.mean], axis=1), np.stack([law.variance] * 2, axis=1))


def telegraph():
    model = at_times(models.telegraph(), 5.0)
    return model, moment_equations(model)


def bursts():
    model = network("0 -> 5 X @ k; X -> 0 @ d", {"k": 2.0, "d": 1.0}, {"X": 3}, 5.0)
    return model, moment_equations(model)


def cycle():
    text = "A -> B @ a; B -> C @ b; C -> A @ c; A -> A + D @ d; D -> 0 @ e"
    model = network(text, {"a": 1.0, "b": 2.0, "c": 0.5, "d": 1.5, "e": 1.0}, {"A": 30, "B": 5}, 5.0)
    return model, moment_equations(model)


def dimerisation():
    model = at_times(models.dimerisation(), 50.0)
    return model, master_equation(model)


def irreversible_dimerisation():
    model = at_times(models.dimerisation(reversible=False), 100.0)
    return model, master_equation(model)


def association():
    model = at_times(models.association(), 2.0)
    return model, master_equation(model)


def small_sir():
    model = at_times(models.sir(), 3.0)._replace(parameters={"infection": 0.1, "recovery": 5.0}, initial_counts={"S": 190, "I": 10})
    return model, master_equation(model)


def schloegl():
    model = at_times(models.schloegl(), 5.0)
    return model, master_equation(model, X=900)


def enzyme():
    text = "E + S <-> ES @ bind, unbind; ES -> E + P @ turnover"
    model = network(text, {"bind": 0.1, "unbind": 1.0, "turnover": 2.0}, {"E": 5, "S": 40}, 10.0)
    return model, master_equation(model)


def trimerisation():
    model = network("3 X <-> Y @ on, off", {"on": 0.01, "off": 1.0}, {"X": 31}, 1.0)
    return model, master_equation(model)


def hill_feedback():
    parameters = {"production": 20.0, "threshold": 8.0, "d": 1.0}
    model = network("0 -> X @ f; X -> 0 @ d", parameters, {"X": 30}, 5.0, f=self_repression)
    return model, master_equation(model, X=120)


SYSTEMS = {
    immigration_death: (20_000, 0.0025),
    birth_death: (10_000, 0.0025),
    pure_birth: (20_000, 0.0025),
    pure_death: (10_000, 0.0003),
    birth_death_immigration: (20_000, 0.0025),
    isomerisation: (20_000, 0.001),
    telegraph: (20_000, 0.005),
    bursts: (20_000, 0.005),
    cycle: (20_000, 0.002),
    dimerisation: (20_000, 0.0006),
    irreversible_dimerisation: (20_000, 0.0006),
    association: (20_000, 0.0015),
    small_sir: (20_000, 0.001),
    schloegl: (4_000, 0.015),
    enzyme: (20_000, 0.001),
    trimerisation: (20_000, 0.001),
    hill_feedback: (20_000, 0.001),
}


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.__name__)
def test_means_and_variances_are_exact(system):
    """Means and variances of all species at 25 times agree with their exact values."""
    model, (mean, variance) = system()
    num_paths, of_means = SYSTEMS[system]
    ensemble = simulate(jax.random.key(20261), *model[:4], num_paths=num_paths)
    assert ensemble.counts.shape == (num_paths, NUM_TIMES, len(model.network.species))
    assert_moments(ensemble, mean, variance, largest_standard_error=(of_means, 0.02))


def test_covariances_are_exact():
    """Covariances between species of a linear network agree with the moment equations, at all times."""
    model, _ = cycle()
    ensemble = simulate(jax.random.key(20262), *model[:4], num_paths=20_000)
    moments = exact.linear_moments(*model[:4])
    deviations = np.asarray(ensemble.counts, float) - moments.mean
    products = deviations[..., :, None] * deviations[..., None, :]
    assert_mean(products, moments.covariance, largest_standard_error=0.3)


def test_the_plain_direct_method_is_accepted():
    """The positive control: a plain NumPy simulator without a mistake passes the test that the wrong ones fail."""
    model, (mean, variance) = small_population()
    ensemble = right_but_slow(jax.random.key(20263), *model[:4], num_paths=3_000)
    assert_moments(ensemble, mean, variance, largest_standard_error=(0.008, 0.04))


@pytest.mark.parametrize("wrong", [death_rate_low, reads_after, keeps_the_clock])
def test_a_wrong_simulator_is_rejected(wrong):
    """A death rate that is 10 % low, states read after the event that passes the time, and a clock that is not reset are all found."""
    model, (mean, variance) = small_population()
    ensemble = wrong(jax.random.key(20264), *model[:4], num_paths=3_000)
    with pytest.raises(AssertionError, match="z = "):
        assert_moments(ensemble, mean, variance, largest_standard_error=(0.008, 0.04))


def test_frozen_paths_are_rejected():
    """Six paths of 30,000 that stop in the middle of an epidemic are found, and the simulator has none."""
    model, (mean, variance) = small_sir()
    options = {"largest_standard_error": (0.001, 0.02)}
    with pytest.raises(AssertionError, match="z = "):
        assert_moments(frozen_paths(jax.random.key(20265), *model[:4], num_paths=30_000), mean, variance, **options)
    assert_moments(simulate(jax.random.key(20266), *model[:4], num_paths=30_000), mean, variance, **options)


def test_right_means_with_wrong_variances_are_rejected():
    """Births in pairs at half the rate have the same mean and another variance: found."""
    parameters = {"k": 10.0, "d": 1.0}
    right = network("0 -> X @ k; X -> 0 @ d", parameters, {"X": 10}, 4.0)
    wrong = network("0 -> 2 X @ 0.5 k; X -> 0 @ d", parameters, {"X": 10}, 4.0)
    mean, variance = moment_equations(right)
    ensemble = simulate(jax.random.key(20267), *wrong[:4], num_paths=4_000)
    assert_mean(ensemble.counts, mean, largest_standard_error=0.1)
    with pytest.raises(AssertionError, match="z = "):
        assert_moments(ensemble, mean, variance, largest_standard_error=(0.01, 0.04))


def test_pairs_of_one_molecule_are_rejected():
    """x²/2 instead of x (x − 1)/2 as the propensity of two equal reactants is found."""
    model, (mean, variance) = dimerisation()
    text = "2 P -> P2 @ pairs; P2 -> 2 P @ k_off"
    wrong = Network.from_text(text, propensities={"pairs": lambda x, k: k["k_on"] * x["P"] ** 2 / 2 * (x["P"] > 1.5).astype(float)})
    ensemble = simulate(jax.random.key(20268), wrong, *model[1:4], num_paths=20_000)
    with pytest.raises(AssertionError, match="z = "):
        assert_moments(ensemble, mean, variance, largest_standard_error=(0.001, 0.02))


@pytest.mark.parametrize("lag", [1, 2, 16, 2048, 10_000])
def test_paths_are_independent(lag):
    """Final counts of path i and path i + lag are uncorrelated: neighbours, lanes of a vector, chunks, halves."""
    model = models.immigration_death()
    paths = simulate(jax.random.key(20269), *model[:3], [20.0], num_paths=20_000)
    assert abs(correlation_z(paths, lag)) < 4


def test_repeated_paths_are_rejected():
    """Paths that come twice are correlated at a lag of half their number."""
    model = models.immigration_death()
    paths = repeated_paths(jax.random.key(20269), *model[:3], [20.0], num_paths=20_000)
    assert abs(correlation_z(paths, 10_000)) > 4


def correlation_z(paths, lag):
    values = np.asarray(paths.counts[:, -1, 0], float)
    first, second = (values[:-lag], values[lag:])
    return np.corrcoef(first, second)[0, 1] * np.sqrt(len(first))
