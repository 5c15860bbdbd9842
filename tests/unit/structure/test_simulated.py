"""Batches of different models: shapes, entries that are not used, explosions, and what a surrogate says about the model that it was made near."""

from functools import cache

import jax
import numpy as np
from support import LIMIT

from ssagrad import Network, models
from ssagrad.structure.candidates import library_of
from ssagrad.structure.observed import Transitions
from ssagrad.structure.simulated import clouds_around_means, left_sides, simulate_models, surrogate_near

LIBRARY = library_of("A -> B; B -> 0; 0 -> A; A + B -> 2 B; 2 A -> A; A -> 2 A", "AB")
CHOSEN = np.array([[0, 1], [2, 3], [4, 0]])
RATES = np.array([[1.0, 0.5], [20.0, 0.02], [0.03, 0.0]])
STARTS, DURATIONS = np.array([[40, 10], [25, 30]]), np.array([0.3, 0.1])
COPIES = 50


@cache
def batch(last=RATES[2, 0]):
    rates = np.vstack([RATES[:2], [[last, 0.0]]])
    return simulate_models(jax.random.key(1), LIBRARY, CHOSEN, rates, DURATIONS, np.repeat(STARTS[:, None], COPIES, axis=1))


def test_everything_has_its_shape():
    """B = 3 models, K = 2 transitions, s = 2 reactions, S = 2 species, C = 6 left sides less the one that two candidates share."""
    square = (3, 2, 2, 2)
    shapes = [(3, 2), (3, 2, 2), square, (3, 2, 2), square, square, square, square, (3, 2, 5), (3,), (3,)]
    assert [part.shape for part in batch()] == shapes and len(left_sides(LIBRARY)) == 5
    assert all(np.isfinite(part).all() for part in batch()) and (batch().events > 0).all()
    assert np.allclose(batch().covariances, np.swapaxes(batch().covariances, -1, -2)) and (np.linalg.eigvalsh(batch().covariances) > -1e-9).all()


def test_the_mean_is_what_the_reactions_moved_on_average():
    """Σ r G Δ, where G of a model's own reactions are those of their left sides."""
    found, sides = batch(), left_sides(LIBRARY).tolist()
    places = np.array([sides.index(side) for side in LIBRARY.reactants.tolist()])
    for model, (chosen, rates) in enumerate(zip(CHOSEN, RATES, strict=True)):
        integrals = found.side_integrals[model][:, places[chosen]]
        assert np.allclose(found.integrals[model], integrals, rtol=1e-6)
        assert np.allclose(found.means[model], (rates * integrals) @ LIBRARY.changes[chosen], rtol=1e-6)


def test_an_entry_of_rate_0_never_fires():
    """The third model changes A alone, whatever candidate stands beside at rate 0."""
    assert (batch().means[2, :, 1] == 0).all() and (batch().covariances[2, :, 1] == 0).all()


def test_an_explosion_is_cut_off_and_leaves_its_neighbours_as_they_are():
    """3·10⁵ A doubling events in no time: 20,000 events a path (checked every 8), finite moments, and the other models bit for bit the same."""
    chosen, rates = np.array([[0, 1], [5, 0]]), np.array([[[1.0, 0.5], [1.0, 0.0]], [[1.0, 0.5], [1e3, 0.0]]])
    starts = np.repeat(STARTS[:, None], 4, axis=1)
    calm, wild = (simulate_models(jax.random.key(2), LIBRARY, chosen, each, DURATIONS, starts) for each in rates)
    assert 8 * 20_000 <= wild.events[1] <= 8 * 20_008 and wild.events[0] == calm.events[0]
    assert all(np.isfinite(part).all() for part in wild)
    assert np.array_equal(calm.means[0], wild.means[0]) and np.array_equal(calm.covariances[0], wild.covariances[0])


def test_equal_keys_give_equal_moments_and_other_keys_others():
    starts = np.repeat(STARTS[:, None], COPIES, axis=1)
    again, other = (simulate_models(jax.random.key(seed), LIBRARY, CHOSEN, RATES, DURATIONS, starts) for seed in (1, 3))
    assert all(np.array_equal(one, two) for one, two in zip(batch(), again, strict=True))
    assert not np.array_equal(batch().means, other.means)


def test_a_surrogate_has_the_moments_of_its_model_at_its_rates():
    """Increments less Σ r G w are the residuals; left + scale Σ r G w wᵀ is the covariance, of a mean of 20 paths with noise."""
    ends = STARTS + [[-5, 3], [2, -1]]
    transitions = Transitions(STARTS.astype(float), ends.astype(float), DURATIONS, 20, np.array([0.5, 2.0]))
    for model in range(3):
        surrogate = surrogate_near(batch(), model, LIBRARY, transitions)
        assert [np.shape(part) for part in surrogate] == [(2, 2), (2, 6), (2, 6, 2), (2, 2, 2), ()]
        flows = RATES[model] * surrogate.integrals[:, CHOSEN[model]]
        impacts = surrogate.impacts[:, CHOSEN[model]]
        residuals = surrogate.targets - np.einsum("ki,kix->kx", flows, impacts)
        assert np.allclose(residuals, ends - STARTS - batch().means[model], rtol=1e-6, atol=1e-9)
        covariances = surrogate.left + surrogate.scale * np.einsum("ki,kix,kiy->kxy", flows, impacts, impacts)
        assert np.allclose(covariances, batch().covariances[model] / 20 + np.diag(transitions.extra), rtol=1e-6, atol=1e-9)


def test_clouds_are_whole_numbers_around_the_means_with_the_scatter_of_the_model():
    """Immigration and death from 80: rounding to whole numbers at random moves a mean by less than 1/(2 √copies); the start does not scatter."""
    model, times, copies = models.immigration_death(), np.array([1.0, 3.0, 11.0, 31.0]), 4000
    means = np.array([[80.0], [66.25], [36.5], [15.75]])
    clouds = clouds_around_means(jax.random.key(4), model.network, model.parameters, means, times, copies)
    assert clouds.shape == (3, copies, 1) and np.array_equal(clouds, np.round(clouds)) and clouds.min() >= 0
    assert (clouds[0] == 80).all()
    assert np.abs(clouds.mean(1) - means[:-1]).max() < LIMIT * 0.5 / np.sqrt(copies)
    decayed = np.exp(-0.1 * (times[1:3] - times[0]))
    exact = 80 * decayed * (1 - decayed) + 10 * (1 - decayed)  # survivors are binomial, arrivals Poisson
    rounding = (means[1:-1, 0] % 1) * (1 - means[1:-1, 0] % 1)
    assert np.all(np.abs(clouds[1:].var(1)[:, 0] - exact) < rounding + 1 / 4 + LIMIT * exact * np.sqrt(2 / copies))


def test_clouds_around_a_start_that_is_not_whole_have_its_mean():
    """A mean of paths that started from 2 or 3 molecules."""
    network, copies = Network.from_text("X -> 0 @ k"), 2000
    clouds = clouds_around_means(jax.random.key(5), network, {"k": 1e-6}, np.array([[2.3], [2.3], [2.3]]), np.arange(3.0), copies)
    assert np.abs(clouds.mean(1) - 2.3).max() < LIMIT * 0.5 / np.sqrt(copies)
