"""Means, covariances and slopes of simulated transitions against exact ones: linear networks, side by side in one batch, and a nonlinear one.

Every transition is simulated 40 times over as transitions of their own, which are the independent samples behind each z-score.
"""

import jax
import numpy as np
import pytest
from support import assert_mean, z_limit

from ssagrad import Network, exact
from ssagrad.structure.candidates import library_of
from ssagrad.structure.observed import Transitions
from ssagrad.structure.simulated import simulate_models, surrogate_near

REPEATS = 40


def repeated(key, library, chosen, rates, duration, start, copies):
    """B models over one transition, 40 times, each from so many copies."""
    starts = np.broadcast_to(np.asarray(start), (REPEATS, copies, len(library.species)))
    return simulate_models(key, library, np.asarray(chosen), np.asarray(rates, float), np.full(REPEATS, duration), starts)


def network_of(library, chosen):
    return Network.from_text("; ".join(f"{text} @ k{i}" for i, text in enumerate(library.subset(chosen).texts())), species=library.species)


def assert_close(samples, value, allowed, count):
    """The mean of samples lies within `allowed` (what the method neglects) and the z-limit of `count` values from a value."""
    error = samples.std(0, ddof=1) / np.sqrt(len(samples))
    assert np.all(np.abs(samples.mean(0) - value) < allowed + z_limit(count) * error + 1e-6), (samples.mean(0), value, allowed, error)


@pytest.mark.parametrize("duration", [0.2, 1.5])
def test_linear_models_in_one_batch_have_their_exact_means_and_covariances(duration):
    """Decay chain, turnover, growth with loss, also over a lifetime; 1/400 of the scatter stays with the copies' own mean."""
    library, start, copies = library_of("A -> B; B -> 0; 0 -> A; B -> A; A -> 2 A", "AB"), np.array([30, 12]), 400
    chosen, rates = [[0, 1], [2, 3], [4, 0]], [[1.0, 0.6], [15.0, 1.2], [0.5, 0.9]]
    found = repeated(jax.random.key(1), library, chosen, rates, duration, start, copies)
    for model in range(3):
        constants = {f"k{i}": rate for i, rate in enumerate(rates[model])}
        law = exact.linear_moments(network_of(library, chosen[model]), constants, start, [duration])
        scale = np.sqrt(law.covariance[0].diagonal().max())
        assert_mean(found.means[model] + start, law.mean[0], largest_standard_error=0.02 * scale)
        assert_close(found.covariances[model], law.covariance[0], 4 * scale**2 / copies, 3 * 4)


def test_an_epidemic_has_the_moments_of_its_master_equation():
    """From 30 susceptible and 5 infected, over a time in which a third is infected; and a death process in the same batch."""
    library, start, duration, copies = library_of("S + I -> 2 I; I -> R; S -> 0", "SIR"), np.array([30, 5, 0]), 0.25, 400
    found = repeated(jax.random.key(2), library, [[0, 1], [2, 0]], [[0.12, 1.5], [2.0, 0.0]], duration, start, copies)
    network = network_of(library, [0, 1])
    law = exact.MasterEquation.build(network, start).solve({"k0": 0.12, "k1": 1.5}, [duration])
    mean = np.array([float(law.mean(name)[0]) for name in "SIR"])
    second = np.array([[float(law.mean(lambda x, a=a, b=b: x[a] * x[b])[0]) for a in "SIR"] for b in "SIR"])
    covariance = second - np.outer(mean, mean)
    assert_mean(found.means[0] + start, mean, largest_standard_error=0.02)
    assert_close(found.covariances[0], covariance, 4 * covariance.max() / copies, 9)
    assert np.abs(found.covariances[0].sum((1, 2))).max() < 1e-6 * covariance.max()  # molecules are conserved in every copy
    survive = np.exp(-2.0 * duration)
    assert_mean(found.means[1, :, 0], -30 * (1 - survive), largest_standard_error=0.02)
    assert_close(found.covariances[1, :, 0, 0], 30 * survive * (1 - survive), 4 * 7 / copies, 1)


def test_the_slope_of_a_single_reaction_is_exact_over_any_duration():
    """d/dk of −n (1 − e^{−kt}) is −n t e^{−kt}; the variance that keeps the inverse regular takes 0.05 of the number of events from A."""
    library, number, rate = library_of("A -> 0", "A"), 100, 1.0
    for seed, duration in ((3, 0.5), (4, 2.0)):
        found = repeated(jax.random.key(seed), library, [[0]], [[rate]], duration, [number], 400)
        slope = (found.integrals[..., None] * found.impacts)[0, :, 0, 0]
        events = number * (1 - np.exp(-rate * duration))
        assert_close(slope, -number * duration * np.exp(-rate * duration), events * 0.05 / events + events / 400, 1)


def test_slopes_are_right_to_second_order_in_the_duration():
    """Of reactions that the model has and of others, where its own reactions move all species: against exact derivatives of linear moments."""
    library, start, duration = library_of("A -> B; B -> 0; 0 -> A; B -> A", "AB"), np.array([60, 40]), 0.2
    found = repeated(jax.random.key(5), library, [[0, 1]], [[1.0, 0.8]], duration, start, 1000)
    network, centre, step = network_of(library, range(4)), np.array([1.0, 0.8, 0.0, 0.0]), 1e-4

    def mean(rates):
        return exact.linear_moments(network, {f"k{i}": rate for i, rate in enumerate(rates)}, start, [duration]).mean[0]

    slopes = np.array([(mean(centre + step * unit) - mean(centre)) / step for unit in np.eye(4)])
    transitions = Transitions(*(np.tile(start.astype(float), (REPEATS, 1)),) * 2, np.full(REPEATS, duration), 1, np.zeros(2))
    surrogate = surrogate_near(found, 0, library, transitions)
    samples = surrogate.integrals[..., None] * surrogate.impacts
    jacobian = np.array([[-1.0, 0.0], [1.0, -0.8]])
    neglected = (np.linalg.norm(jacobian, 2) * duration) ** 2 / 2 * np.linalg.norm(samples.mean(0), axis=-1, keepdims=True)
    assert_close(samples, slopes, neglected, slopes.size)
    first_order = surrogate.integrals[..., None] * library.changes  # a negative control: as if nothing happened after an event
    with pytest.raises(AssertionError):
        assert_close(first_order, slopes, neglected, slopes.size)
