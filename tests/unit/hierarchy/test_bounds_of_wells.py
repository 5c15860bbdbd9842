"""Bounds, their gradients, and refined posteriors, where the answer is known: a system that is linear and Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad.hierarchy import bound, evaluation, levels, newton, refinement, shared
from ssagrad.hierarchy.integrate import Prediction
from ssagrad.hierarchy.likelihood import Wells
from ssagrad.hierarchy.plate_reader import Experiment
from ssagrad.hierarchy.posterior import Posterior
from ssagrad.hierarchy.system import System

TIMES = np.linspace(0, 1, 16).astype(np.float32)
LEVELS = levels.levels_of(
    [levels.Latent("slope", "global", "normal", 0.5, 1.0), levels.Latent("site", "group", "normal", 0, 2.0), levels.Latent("height", "local", "normal", 0, 1.5)]
)
VARIANCE = 0.04


def _solve(weights, u, treatments, components, times):
    del components
    grid = jnp.asarray(times)[:, None]
    line = weights["shift"] + u[2][None] + u[0][None] * grid + u[1][None] * treatments[0][None]
    return Prediction(jnp.stack([line] * 4, axis=1), jnp.full((1, 4, u.shape[1]), VARIANCE, jnp.float32))


SYSTEM = System("line", LEVELS, lambda key: {"shift": jnp.zeros((), jnp.float32)}, ((True, True),), _solve)
WEIGHTS = SYSTEM.initial_weights(None)


def experiment(num_wells=6, seed=1):
    generator = np.random.default_rng(seed)
    components = np.eye(2, dtype=np.float32)[np.arange(num_wells) % 2]
    treatments = generator.uniform(0, 1, (num_wells, 2)).astype(np.float32)
    height = generator.normal(0, 1.5, num_wells)
    line = height[:, None] + 0.8 * TIMES + (components @ [1.0, -1.0] * treatments[:, 0])[:, None]
    signals = line[:, None] + 0.2 * generator.normal(size=(num_wells, 4, len(TIMES)))
    return Experiment(TIMES, signals.astype(np.float32), treatments, np.arange(num_wells) % 2, components, np.ones(4, np.float32), ("a", "b"), ("a", "b"))


def wells_of(data):
    return Wells(*(jnp.asarray(x) for x in (data.signals, data.treatments, data.components)))


def design(data, well):
    """Rows of the linear model of a well, [64, 3], and its observations."""
    column = np.tile(TIMES[None], (4, 1))
    rows = np.stack([column, np.full_like(column, data.treatments[well, 0]), np.ones_like(column)], axis=-1).reshape(-1, 3)
    return rows.astype(float), data.signals[well].reshape(-1).astype(float)


def log_evidence(data, well):
    rows, y = design(data, well)
    covariance = rows @ np.diag(LEVELS.scales.astype(float) ** 2) @ rows.T + VARIANCE * np.eye(len(y))
    off = y - rows @ LEVELS.locations
    return -0.5 * (off @ np.linalg.solve(covariance, off) + np.linalg.slogdet(covariance)[1] + len(y) * np.log(2 * np.pi))


def test_a_refined_bound_of_a_linear_well_is_its_evidence():
    """One Fisher step ends in the posterior itself, so that importance weights are nearly equal and the bound is log p(y)."""
    data = experiment()
    posterior = Posterior(jax.random.key(0), LEVELS, 4, 16, 2)
    found = evaluation.evaluate(jax.random.key(1), SYSTEM, posterior, WEIGHTS, data, draws=400, steps=8)
    np.testing.assert_allclose(found.bounds, [log_evidence(data, i) for i in range(6)], atol=0.05)
    assert found.effective.min() > 300


def test_the_published_bound_is_below_the_evidence():
    """A bad posterior loses: its bound lies below log p(y), for every well on average over draws."""
    data = experiment()
    posterior = Posterior(jax.random.key(2), LEVELS, 4, 16, 2)
    found = evaluation.evaluate(jax.random.key(3), SYSTEM, posterior, WEIGHTS, data, draws=50)
    assert (found.bounds < [log_evidence(data, i) for i in range(6)]).all()
    assert ((1 <= found.effective) & (found.effective <= 50)).all()


def test_both_gradients_have_the_same_mean():
    """Plain and doubly reparameterised gradients of the posterior estimate one number: z-scores of their differences below 4."""
    data, draws, repeats = experiment(2), 4, 1000
    posterior = Posterior(jax.random.key(4), LEVELS, 4, 16, 2, start_sd=0.4)
    where = lambda slope: jnp.concatenate([slope[0].shared_mean, slope[0].shared_log_sd])

    def one(key, gradient):
        noise = jax.random.normal(key, (3, 2, draws), jnp.float32)
        return where(bound.gradients(SYSTEM, (posterior, WEIGHTS), wells_of(data), TIMES, noise, gradient=gradient)[1])

    found = [np.asarray(jax.jit(jax.vmap(lambda key, g=g: one(key, g)))(jax.random.split(jax.random.key(5 + i), repeats))) for i, g in enumerate(bound.GRADIENTS)]
    error = np.sqrt(sum(x.var(0, ddof=1) / repeats for x in found))
    assert (np.abs(found[0].mean(0) - found[1].mean(0)) / error < 4).all()


def test_full_gaussians_know_their_own_density():
    """log q of draws with couplings is the density of a normal law with covariance T Tᵀ."""
    from ssagrad.hierarchy.posterior import Gaussian

    generator = np.random.default_rng(3)
    lower = lambda n: jnp.asarray(np.tril(generator.normal(size=(n, n)), -1) + np.diag(generator.uniform(0.5, 1, n)), jnp.float32)
    local = jnp.stack([lower(2), lower(2)], axis=-1)
    q = Gaussian(jnp.asarray(generator.normal(size=(5, 2)), jnp.float32), lower(2), jnp.full((1, 2), 0.7, jnp.float32),
                 jnp.asarray(generator.normal(size=(2, 3, 2)), jnp.float32), local)  # fmt: skip
    u = q.draw(jax.random.normal(jax.random.key(6), (5, 2, 7), jnp.float32))
    factor = np.zeros((5, 5))
    factor[:2, :2], factor[2, 2], factor[3:, :3], factor[3:, 3:] = q.shared, 0.7, q.coupling[:, :, 1], local[:, :, 1]
    off = np.linalg.solve(factor, np.asarray(u[:, 1] - q.mean[:, 1:]))
    expected = -0.5 * (off**2).sum(0) - np.log(np.abs(np.diag(factor))).sum() - 2.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(q.log_density(u)[1], expected, rtol=2e-4)


def test_the_joint_mode_of_a_linear_model_is_its_posterior():
    """One step of all levels gives means and covariance of what is shared, as the formula for linear models does."""
    data = experiment(10, seed=2)
    blank = shared.SharedPosterior(jax.random.key(7), LEVELS, SYSTEM.masks, 4, 16)
    mode = newton.joint_mode(SYSTEM, WEIGHTS, blank, data, steps=20, tolerance=1e-6)
    precision, right = np.diag([1.0, 0.25, 0.25]), np.array([0.5, 0, 0])
    for well in range(10):
        rows, y = design(data, well)
        place = np.zeros((2, 3))
        place[0, 0] = place[1, 1 + well % 2] = 1
        inside = 1.5**2 * np.outer(rows[:, 2], rows[:, 2]) + VARIANCE * np.eye(len(y))
        seen = rows[:, :2] @ place
        precision, right = precision + seen.T @ np.linalg.solve(inside, seen), right + seen.T @ np.linalg.solve(inside, y)
    factor = np.asarray(mode.posterior.factor(), float)
    np.testing.assert_allclose(mode.posterior.mean, np.linalg.solve(precision, right), atol=2e-3)
    np.testing.assert_allclose(factor @ factor.T, np.linalg.inv(precision), rtol=1e-2, atol=1e-5)


def test_the_divergence_of_the_prior_from_itself_is_zero():
    """KL(q ‖ p) = 0 where q is the prior, and what it should be for a narrower one."""
    blank = shared.SharedPosterior(jax.random.key(8), LEVELS, SYSTEM.masks, 4, 16)
    same = shared.eqx.tree_at(lambda q: q.log_sd, blank, jnp.log(jnp.asarray(blank.prior()[1])))
    assert abs(float(same.divergence())) < 1e-6
    expected = sum(0.5 * (0.01 / s**2 - 1) - np.log(0.1 / s) for s in (1.0, 2.0, 2.0))
    np.testing.assert_allclose(float(blank.divergence()), expected, rtol=1e-5)


@pytest.mark.parametrize("size", [3, 9])
def test_small_roots_are_those_of_the_library(size):
    """Written-out Cholesky roots and substitutions solve A x = b, also where the library's are used."""
    generator = np.random.default_rng(size)
    raw = generator.normal(size=(size, size, 5))
    matrices = np.einsum("ikb,jkb->ijb", raw, raw) + 0.5 * np.eye(size)[:, :, None]
    right = generator.normal(size=(size, 5))
    root = refinement.cholesky(jnp.asarray(matrices, jnp.float32))
    first = jnp.stack(list(refinement.forward_substitution(root, jnp.asarray(right, jnp.float32))))
    solved = np.stack(list(refinement.back_substitution(root, first)))
    expected = np.stack([np.linalg.solve(matrices[:, :, b], right[:, b]) for b in range(5)], axis=1)
    np.testing.assert_allclose(solved, expected, rtol=5e-3, atol=5e-3)


def test_effective_sample_sizes():
    """K where all weights are equal, 1 where one is everything."""
    log_w = jnp.asarray([[0.0] * 4, [100.0, 0.0, 0.0, 0.0]], jnp.float32)
    np.testing.assert_allclose(bound.effective_sample_size(log_w), [4, 1], rtol=1e-5)
