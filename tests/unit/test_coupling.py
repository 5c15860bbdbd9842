"""Split coupling: a pair of paths is a network; and what all estimators that follow a second path have in common."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import Ensemble, Network, NetworkError, models
from ssagrad.coupling import rate_slopes, simulate_pairs, split_coupling, with_second_paths
from ssagrad.estimators import alternative_path, coupled_difference, forked_path
from ssagrad.network import Reaction

DIMERS = models.dimerisation().network
ASSOCIATION = models.association()
TIMES = np.array([0.5, 1.0])
RECORD = {"num_paths": 50, "record": ("event_counts", "time_integrals")}
ESTIMATORS = {
    "forked_path": (forked_path, {"num_forks": 2}),
    "coupled_difference": (coupled_difference, {}),
    "alternative_path": (alternative_path, {"rate_bound": 120.0}),
}


def estimate(name, parameters, *, num_paths=40, key=None, times=TIMES, **options):
    estimator, usual = ESTIMATORS[name]
    key = jax.random.key(5) if key is None else key
    return estimator(key, ASSOCIATION.network, parameters, ASSOCIATION.initial_counts, times, num_paths=num_paths, **usual, **options)


def test_a_pair_is_a_network():
    """2 P <-> P2: shared moves change both, private ones one; common rates are the smaller, and the sums are each path's own."""
    pair = split_coupling(DIMERS)
    assert pair.species == ("P", "P2", "P'", "P2'")
    assert pair.reaction_names == ("k_on both", "k_off both", "k_on first", "k_off first", "k_on second", "k_off second")
    assert pair.stoichiometry.tolist() == [[-2, 1, -2, 1], [2, -1, 2, -1], [-2, 1, 0, 0], [2, -1, 0, 0], [0, 0, -2, 1], [0, 0, 2, -1]]
    parameters = {"first": {"k_on": 2.0, "k_off": 1.0}, "second": {"k_on": 1.0, "k_off": 1.0}}
    rates = pair.propensities(jnp.array([4.0, 3.0, 6.0, 2.0]), parameters)  # a(x) = 12, 3 and a(y) = 15, 2
    assert np.allclose(rates, [12, 2, 0, 1, 3, 0])


def test_changes_that_are_functions_are_refused():
    """A pair is built from the molecules on both sides; changes that only the simulator knows would be lost without a word."""
    jump = Reaction("jump", (), (), "k", 1.0, None, lambda counts, parameters: {"X": counts["X"] + 1})
    with pytest.raises(NetworkError, match="known beforehand, received functions for .'jump'."):
        coupled_difference(jax.random.key(1), Network(("X",), (jump,)), {"k": 1.0}, {"X": 1}, TIMES, num_paths=4)


def test_equal_networks_share_their_pair():
    """So that it is compiled once."""
    assert split_coupling(models.dimerisation().network) is split_coupling(DIMERS)


def test_paths_that_have_met_stay_together():
    """Equal states and equal parameters: no private reaction ever fires."""
    pair = simulate_pairs(jax.random.key(1), ASSOCIATION.network, (ASSOCIATION.parameters,) * 2, (np.array([10, 10, 0]),) * 2, TIMES, **RECORD)
    assert np.array_equal(pair[0].counts, pair[1].counts)


def test_records_of_a_pair_belong_to_its_paths():
    """Event counts times stoichiometry lead from the start of each path to its state; integrals lie between 0 and the total."""
    starts = np.array([10, 8, 0]), np.array([9, 7, 1])
    pair = simulate_pairs(
        jax.random.key(2), ASSOCIATION.network, (ASSOCIATION.parameters, {"k_on": 2.0, "k_off": 0.5}), starts, TIMES, **RECORD
    )
    for path, start in zip(pair, starts, strict=True):
        assert np.array_equal(path.counts, start + np.asarray(path.event_counts) @ ASSOCIATION.network.stoichiometry)
        assert np.allclose(path.time_integrals[..., 0] + path.time_integrals[..., 2], 10 * TIMES, rtol=1e-5)
    assert np.any(pair[0].counts != pair[1].counts)


def test_rate_slopes_of_every_scalar():
    """Columns follow the leaves of the parameters, arrays included."""
    network = Network.from_text("X -> 0 @ death; 0 -> X @ birth", propensities={"birth": lambda counts, p: p["rates"][0] * p["rates"][1]})
    slopes = rate_slopes(network, jnp.array([[3.0], [5.0]]), {"death": jnp.float32(2), "rates": jnp.array([7.0, 11.0])})
    assert slopes.tolist() == [[[3, 0, 0], [0, 11, 7]], [[5, 0, 0], [0, 11, 7]]]


def test_added_rows_weigh_nothing_and_belong_to_a_sample():
    """Counts 1, 2, … 10, and 3 more in the added rows: the mean stays, and each of the 10 terms has the derivative 3 − 0."""
    counts = 1 + jnp.arange(10.0)[:, None, None]
    none = jnp.zeros(10, bool)
    paths = Ensemble(jnp.ones(1), counts, jnp.ones((10, 1)), none, none, species=("X",))

    def terms(theta):
        rows = with_second_paths(paths, [paths.replace(counts=counts + 3), paths], [jnp.full((10, 1), theta - 1), jnp.full((10, 1), 1 - theta)])
        assert rows.num_samples == 10
        return rows.terms(rows.samples("X")), rows.mean("X")

    (values, mean), (slopes, slope) = terms(1.0), jax.jacfwd(terms)(1.0)
    assert np.allclose(values[:, 0], np.arange(1, 11)) and np.allclose(mean, 5.5)
    assert np.allclose(slopes, 3, rtol=1e-5) and np.allclose(slope, 3, rtol=1e-5)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_values_are_those_of_plain_paths(name):
    """Rows in blocks of n: weights 1, then 0, and one independent sample per path."""
    ensemble = estimate(name, ASSOCIATION.parameters)
    assert ensemble.num_samples == 40 and ensemble.num_paths % 40 == 0 and ensemble.counts.shape[1:] == (2, 3)
    assert np.array_equal(ensemble.weights[:40], np.ones((40, 2))) and not np.any(ensemble.weights[40:])
    assert np.allclose(ensemble.mean("C"), ensemble.counts[:40, :, 2].mean(0), rtol=1e-6)
    assert np.allclose(ensemble.counts[..., 0] + ensemble.counts[..., 2], 10) and np.all(ensemble.counts >= 0)
    assert np.array_equal(ensemble.times, TIMES.astype(np.float32))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_gradients_agree_through_every_transformation(name):
    """grad of a nonlinear loss, jacfwd, jit and vmap give one and the same numbers; terms average to the gradient of a mean."""
    theta = jnp.array([1.0, 2.0])

    def ensemble(theta):
        return estimate(name, {"k_on": theta[0], "k_off": theta[1]})

    def loss(theta):
        paths = ensemble(theta)
        return (paths.mean("C") ** 2).sum() + paths.variance("A")[1]

    gradient = jax.grad(loss)(theta)
    assert np.isfinite(gradient).all() and np.all(gradient != 0)
    for other in (jax.jacfwd(loss)(theta), jax.jit(jax.vmap(jax.grad(loss)))(theta[None])[0]):
        assert np.allclose(gradient, other, rtol=1e-4)
    def terms_and_mean(theta):
        paths = ensemble(theta)
        return paths.terms(paths.samples("C")), paths.mean("C")

    samples, slope = jax.jacfwd(terms_and_mean)(theta)
    assert samples.shape == (40, 2, 2) and np.allclose(samples.mean(0), slope, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_paths_may_start_anywhere_and_at_any_time(name):
    """Initial counts per path, and a start time that is the first observation, where nothing has a derivative yet."""
    start = np.tile([[10, 10, 0], [4, 5, 3]], (20, 1))

    def terms(k_on):
        estimator, usual = ESTIMATORS[name]
        parameters = {"k_on": k_on, "k_off": 1.0}
        paths = estimator(jax.random.key(5), ASSOCIATION.network, parameters, start, [2.0, 2.5], num_paths=40, start_time=2.0, **usual)
        return paths.terms(paths.samples("C"))

    assert np.array_equal(terms(1.0)[:, 0], start[:, 2])
    slopes = np.asarray(jax.jvp(terms, (1.0,), (1.0,))[1])
    assert np.any(slopes[:, 1] != 0)
    if name != "coupled_difference":
        assert not np.any(slopes[:, 0])
