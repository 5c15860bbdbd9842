"""Gaussian smoothing (Polyak, REINFORCE, RLOO): the contract, and gradients where the answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import assert_mean

from ssagrad import Network, simulate
from ssagrad.estimators import polyak_smoothing, reinforce, rloo

BIRTH = Network.from_text("0 -> X @ birth")
TIMES = np.array([1.0, 2.0])


def ensemble(birth, *, num_paths=50, sigma=0.5, key=None, **options):
    key = jax.random.key(3) if key is None else key
    return polyak_smoothing(key, BIRTH, {"birth": birth}, {}, TIMES, num_paths=num_paths, sigma=sigma, **options)


def test_values_are_those_of_a_simulation_and_rows_come_in_pairs():
    """The perturbed rows have weight 0: the mean is that of the reference paths alone."""
    paths = ensemble(5.0)
    assert paths.counts.shape == (100, 2, 1)
    assert np.array_equal(paths.weights[:50], np.ones((50, 2))) and not np.any(paths.weights[50:])
    assert np.allclose(paths.mean("X"), paths.counts[:50, :, 0].mean(0), rtol=1e-6)


def test_a_pair_shares_its_random_stream():
    """With a perturbation too small to matter, both paths of a pair are the same path."""
    paths = ensemble(5.0, sigma=1e-6)
    assert np.array_equal(paths.counts[:50], paths.counts[50:])


def test_gradient_of_a_linear_mean_is_unbiased():
    """E X(t) = k t is linear in k, so smoothing has no bias: every pair's sample has the mean t."""
    samples = jax.vmap(lambda key: jax.grad(lambda k: ensemble(k, num_paths=8, key=key).mean("X")[1])(10.0))(jax.random.split(jax.random.key(4), 4000))
    assert_mean(samples, 2.0, largest_standard_error=0.05)


def test_bias_of_a_curved_mean_is_the_predicted_one():
    """With k = exp(θ) the smoothed mean is t exp(θ + σ²/2), and its derivative too: larger than the exact one by exp(σ²/2)."""
    sigma = 0.8

    def mean(theta, key):
        decode = lambda parameters: {"birth": jnp.exp(parameters["birth"])}  # noqa: E731
        return ensemble(theta, num_paths=8, sigma=sigma, key=key, decode=decode).mean("X")[1]

    samples = jax.vmap(lambda key: jax.grad(mean)(jnp.log(10.0), key))(jax.random.split(jax.random.key(5), 8000))
    assert_mean(samples, 20 * np.exp(sigma**2 / 2), largest_standard_error=0.3)
    assert abs(samples.mean() - 20) > 10 * samples.std() / np.sqrt(8000)


def test_gradients_agree_through_every_transformation():
    """grad, value_and_grad, jacfwd, jit and a nonlinear loss give one and the same number; the mean of no parameter has none."""

    def loss(birth):
        return (ensemble(birth).mean("X") ** 2).sum()

    gradient = jax.grad(loss)(5.0)
    assert np.isfinite(gradient) and gradient != 0
    for other in (jax.jit(jax.grad(loss))(5.0), jax.jacfwd(loss)(5.0), jax.value_and_grad(loss)(5.0)[1], jax.vmap(jax.grad(loss))(jnp.array([5.0]))[0]):
        assert np.allclose(gradient, other, rtol=1e-5)


def test_array_parameters_and_decode():
    """Parameters may be arrays; the derivative has their shape."""

    def loss(theta):
        decode = lambda parameters: {"birth": parameters.sum()}  # noqa: E731
        return polyak_smoothing(jax.random.key(1), BIRTH, theta, {}, TIMES, num_paths=200, sigma=0.1, decode=decode).mean("X")[1]

    assert jax.grad(loss)(jnp.array([2.0, 3.0])).shape == (2,)


@pytest.mark.parametrize(("estimator", "largest"), [(reinforce, 0.08), (rloo, 0.03)])
def test_weighted_clouds_are_unbiased_for_a_linear_mean(estimator, largest):
    """d E X(2) / dk = 2 from paths at random k. Without a baseline the mean itself, 20, is noise: σ = 2 of k = 10 leaves more than twice the error."""

    def mean(birth, key):
        return estimator(key, BIRTH, {"birth": birth}, {}, TIMES, num_paths=8, sigma=2.0).mean("X")[1]

    samples = jax.jit(jax.vmap(jax.grad(mean), in_axes=(None, 0)))(10.0, jax.random.split(jax.random.key(6), 4000))
    assert_mean(samples, 2.0, largest_standard_error=largest)
    assert samples.std() / np.sqrt(4000) > largest / 2


@pytest.mark.parametrize("estimator", [reinforce, rloo])
def test_clouds_have_one_path_for_each_direction(estimator):
    """All rows weigh 1, at n different parameters; terms carry the samples of the gradient, and their mean is the gradient."""

    def terms_and_mean(birth):
        paths = estimator(jax.random.key(7), BIRTH, {"birth": birth}, {}, TIMES, num_paths=50, sigma=0.5)
        assert np.array_equal(jax.lax.stop_gradient(paths.weights), np.ones((50, 2)))
        return paths.terms(paths.samples("X")), paths.mean("X")

    samples, gradient = jax.jacfwd(terms_and_mean)(5.0)
    assert samples.shape == (50, 2) and np.allclose(samples.mean(0), gradient, rtol=1e-4)


def test_terms_of_pairs_are_one_per_pair():
    """Reference and perturbed row of Polyak smoothing make one independent sample."""

    def terms(birth):
        paths = ensemble(birth)
        return paths.terms(paths.samples("X"))

    paths, slopes = ensemble(5.0), jax.jacfwd(terms)(5.0)
    difference = np.asarray(paths.counts[50:, :, 0] - paths.counts[:50, :, 0])
    assert slopes.shape == (50, 2) and np.array_equal(abs(slopes) > 1e-4, difference != 0)


def test_a_baseline_needs_two_paths():
    with pytest.raises(ValueError, match="at least 2 paths, received 1"):
        rloo(jax.random.key(0), BIRTH, {"birth": 1.0}, {}, TIMES, num_paths=1, sigma=0.1)


def test_bad_sigma_is_refused():
    with pytest.raises(ValueError, match=r"expected sigma > 0 .* received 0"):
        ensemble(5.0, sigma=0)


def test_plain_simulation_refuses_to_be_differentiated():
    """A derivative that would be silently 0 is an error that says what to do."""
    with pytest.raises(TypeError, match=r"no derivative .* ssagrad\.estimators"):
        jax.grad(lambda k: simulate(jax.random.key(0), BIRTH, {"birth": k}, {}, TIMES, num_paths=2).mean("X")[0])(1.0)
