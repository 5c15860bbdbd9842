"""The particle filter against the exact likelihood of a hidden Markov model: value, gradient and information; filters that are wrong are found out.

Exact: the law of the master equation carried from one observation to the next by a matrix exponential in float64, and its differences in ln θ.
L̂ and L̂ ∇ ln L̂ are unbiased, whatever the number of particles: that is what is held to |z| < 4.
"""

import inspect
import types
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.linalg import expm
from support import assert_mean

from ssagrad import Network, exact, filtering, models, simulate
from ssagrad.filtering import filtered, gaussian_noise, log_likelihood
from ssagrad.fitting import descend

NUM_SEEDS, NUM_PARTICLES = 128, 200
TIMES = np.array([0.3, 0.5, 1.0, 1.5, 2.5, 3.0, 3.5, 4.0])
HILL = {"production": lambda counts, parameters: parameters["k"] / (1 + (counts["P"] / parameters["K"]) ** 2)}
CASES = {  # network, parameters, start, bounds, observed species, their noise; largest standard errors of L̂/L, of L̂ ∇ ln L̂/L, of the information
    "immigration and death": (models.immigration_death().network, {"immigration": 10.0, "death": 1.0}, {}, {"X": 36}, "X", 2.0, (0.02, 0.1, 0.5)),
    "a gene that is not seen": (
        models.telegraph().network, {"k_on": 1.0, "k_off": 1.0, "transcription": 8.0, "decay": 1.0}, {"off": 1}, {"mRNA": 30}, "mRNA", 1.5,
        (0.03, 0.1, 0.4),
    ),
    "a protein that represses itself": (
        Network.from_text("0 -> P @ production; P -> 0 @ decay", propensities=HILL), {"k": 20.0, "K": 8.0, "decay": 1.0}, {"P": 2}, {"P": 36},
        "P", 2.0, (0.02, 0.1, 0.6),
    ),
}  # fmt: skip


@cache
def data_of(name):
    """One path, seen with noise, one value missing."""
    network, theta, start, _, seen, sigma, _ = CASES[name]
    path = simulate(jax.random.key(1), network, theta, start, TIMES, num_paths=1).samples(seen)[0]
    values = np.array(path + sigma * jax.random.normal(jax.random.key(2), path.shape))
    values[2] = np.nan
    return {seen: values}


@cache
def exact_of(name):
    """ln L, its gradient [P] and minus its second derivative [P, P], in ln θ."""
    network, theta, start, bounds, seen, sigma, _ = CASES[name]
    master, names, data = exact.MasterEquation.build(network, start, bounds=bounds), sorted(theta), data_of(name)[seen]
    counts = master.states[:, network.species.index(seen)]

    def value(shift):
        generator = master.generator({name: theta[name] * np.exp(s) for name, s in zip(names, shift, strict=True)}).toarray()
        steps = {gap: expm(generator * gap) for gap in set(np.diff(TIMES, prepend=0.0).round(9))}
        law, total = np.eye(len(counts))[0], 0.0
        for gap, y in zip(np.diff(TIMES, prepend=0.0).round(9), data, strict=True):
            law = steps[gap] @ law
            if np.isfinite(y):
                law = law * np.exp(-(((y - counts) / sigma) ** 2) / 2) / sigma / np.sqrt(2 * np.pi)
            total, law = total + np.log(law.sum()), law / law.sum()
        return total

    h, size, centre = 1e-3, len(names), value(np.zeros(len(names)))
    ahead, behind = (np.array([value(sign * e) for e in h * np.eye(size)]) for sign in (1, -1))
    along, second = ahead + behind - 2 * centre, np.zeros((size, size))
    for p, q in zip(*np.triu_indices(size), strict=True):
        shift = h * (np.eye(size)[p] + np.eye(size)[q])
        second[p, q] = second[q, p] = (value(shift) + value(-shift) - 2 * centre - along[p] - along[q]) / (2 * h * h)
    return centre, (ahead - behind) / (2 * h), -second


@cache
def runs_of(name, filtered=filtered, num_particles=NUM_PARTICLES, num_seeds=NUM_SEEDS):
    """ln L̂ [m], its gradient [m, P] and the information [m, P, P], in ln θ, of m independent filters."""
    network, theta, start, _, _, sigma, _ = CASES[name]
    data, scale = data_of(name), np.array([theta[name] for name in sorted(theta)])

    def run(key):
        return filtered(key, network, theta, start, TIMES, data, noise=gaussian_noise(sigma), num_particles=num_particles)

    found = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(3), num_seeds))
    scores = np.asarray(found.score, float) * scale
    information = np.asarray(found.information, float) * np.outer(scale, scale) - scores[:, :, None] * np.eye(len(scale))
    return np.asarray(found.log_likelihood, float), scores, information


def assert_gradient(name, filtered=filtered):
    values, scores, _ = runs_of(name, filtered)
    value, gradient, _ = exact_of(name)
    assert_mean(np.exp(values - value)[:, None] * scores, gradient, largest_standard_error=CASES[name][-1][1])


@pytest.mark.parametrize("name", CASES)
def test_the_likelihood_is_unbiased(name):
    """Observations at unequal times, one missing; a species that is never seen; a rate function."""
    assert_mean(np.exp(runs_of(name)[0] - exact_of(name)[0]), 1.0, largest_standard_error=CASES[name][-1][0])


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_of_the_likelihood_is_unbiased(name):
    """E[L̂ ∇ ln L̂] = ∇L in every parameter."""
    assert_gradient(name)


@pytest.mark.parametrize("name", CASES)
def test_the_information_is_that_of_the_exact_likelihood(name):
    """At eight observations the bias of Louis' identity, of order 1/n, is below the standard error."""
    assert_mean(runs_of(name)[2], exact_of(name)[2], largest_standard_error=CASES[name][-1][2])


def test_the_logarithm_has_the_bias_of_half_its_variance():
    """E ln L̂ ≈ ln L − Var/2 at 40 particles; ln L itself is rejected."""
    name = "immigration and death"
    value, values = exact_of(name)[0], runs_of(name, num_particles=40, num_seeds=1000)[0]
    assert_mean(values + values.var(ddof=1) / 2, value, largest_standard_error=0.02)
    with pytest.raises(AssertionError, match="z = "):
        assert_mean(values, value, largest_standard_error=0.02)


def forgetful(accumulator):
    """The score without the unfinished waiting time before each observation."""

    def increments(values, step):
        fires = step.reaction < len(step.propensities) - 0.5
        return accumulator.increments(values, step._replace(duration=jnp.where(fires, step.duration, 0)))

    return accumulator._replace(increments=increments)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("sums = sums[ancestors]", "sums = sums"),
        ("accumulator(settings.network, settings.scalars)", "forgetful(accumulator(settings.network, settings.scalars))"),
    ],
    ids=["scores of other ancestors", "no unfinished waiting time"],
)
def test_a_wrong_filter_is_rejected(right, wrong):
    """Negative controls: the module with one expression changed fails the test of the gradient."""
    source = inspect.getsource(filtering)
    assert source.count(right) == 1
    mutant = types.ModuleType("mutant")
    mutant.forgetful = forgetful
    exec(compile(source.replace(right, wrong), "mutant", "exec"), mutant.__dict__)
    with pytest.raises(AssertionError, match="z = "):
        assert_gradient("immigration and death", mutant.filtered)


def test_the_gradient_leads_to_one_estimate():
    """A repressilator, one path of 1,600 events seen at 20 times in two of three proteins: 60 steps of Adam in ln θ from factors 1.5 away.

    Both starts lead to the same parameters within 10 %, as near the truth as one path can tell.
    """
    model = models.hill_repressilator()
    times = np.linspace(0.8, 16, 20)
    path = simulate(jax.random.key(1), *model[:3], times, num_paths=1)
    data = {name: np.array(path.samples(name)[0] + 3 * jax.random.normal(jax.random.key(i), times.shape)) for i, name in enumerate(("P1", "P2"))}

    def loss(logarithms, key):
        parameters = jax.tree.map(jnp.exp, logarithms)
        options = {"noise": gaussian_noise(3.0), "num_particles": 500}
        return -log_likelihood(key, model.network, parameters, model.initial_counts, times, data, **options)

    away = {"k_p": [1.5, 1 / 1.5], "k_d": [1.5, 1 / 1.5], "K_d": [1 / 1.5, 1.5]}
    starts = {name: np.log(np.float32(model.parameters[name]) * np.float32(factors)) for name, factors in away.items()}
    found = descend(jax.random.key(4), loss, starts, optimizer=optax.adam(0.05), num_steps=60).parameters
    ratios = {name: np.exp(np.asarray(found[name])[:, -20:].mean(1)) / value for name, value in model.parameters.items()}
    assert all(abs(first / second - 1) < 0.1 for first, second in ratios.values()), ratios
    assert all(np.all((ratio > 1 / 1.4) & (ratio < 1.4)) for ratio in ratios.values()), ratios
