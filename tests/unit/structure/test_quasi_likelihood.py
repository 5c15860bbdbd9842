"""The Gaussian quasi-likelihood is that of scipy, its gradient the derivative, its information the covariance of the gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from support import assert_mean

from ssagrad.structure.quasi_likelihood import (
    Evaluation,
    Surrogate,
    backward_substitution,
    cholesky,
    climbed,
    fit_rates,
    forward_substitution,
    quasi_score,
    score_tests,
    start_climb,
)

K, SPECIES, CANDIDATES = 40, 2, 5
RATES = np.array([0.7, 1.6])
CHOSEN = np.array([0, 3])
EPSILON = np.finfo(np.float32).eps
QUASI_SCORE, CLIMBED = jax.jit(quasi_score), jax.jit(climbed)


def single(values):
    return jnp.asarray(values, jnp.float32)


def made_up(seed=0, scale=0.5, spread=1.0):
    """A surrogate whose increments are those of the candidates 0 and 3, with Gaussian noise of the covariance that it says."""
    generator = np.random.default_rng(seed)
    integrals = 5 * generator.gamma(4.0, 0.25, size=(K, CANDIDATES))
    impacts = generator.normal(size=(K, CANDIDATES, SPECIES))
    roots = 0.4 * generator.normal(size=(K, SPECIES, SPECIES)) + np.eye(SPECIES)
    left = roots @ np.swapaxes(roots, 1, 2)
    surrogate = Surrogate(np.zeros((K, SPECIES)), integrals, impacts, left, scale)
    mean, covariances = moments(surrogate, CHOSEN, RATES)
    noise = np.einsum("kxy,ky->kx", np.linalg.cholesky(covariances), generator.normal(size=(K, SPECIES)))
    return surrogate._replace(targets=mean + spread * noise)


def moments(surrogate, chosen, rates):
    """Mean [K, S] and covariance [K, S, S] of the increments, written out once more."""
    integrals, impacts = surrogate.integrals[:, chosen], surrogate.impacts[:, chosen]
    mean = np.einsum("i,ki,kix->kx", rates, integrals, impacts)
    return mean, surrogate.left + surrogate.scale * np.einsum("i,ki,kix,kiy->kxy", rates, integrals, impacts, impacts)


def log_likelihood(surrogate, chosen, rates):
    """By scipy, without the constant of the normal density."""
    mean, covariances = moments(surrogate, chosen, rates)
    values = [multivariate_normal.logpdf(x, m, v) for x, m, v in zip(surrogate.targets, mean, covariances, strict=True)]
    return sum(values) + K * SPECIES / 2 * np.log(2 * np.pi)


def evaluated(surrogate, chosen, rates):
    """`quasi_score` of one model, from moments by numpy."""
    mean, covariances = moments(surrogate, chosen, rates)
    parts = (surrogate.targets - mean, covariances, surrogate.integrals[:, chosen], surrogate.impacts[:, chosen])
    return QUASI_SCORE(*(single(part)[None] for part in parts), single(surrogate.scale))


def slopes(function, at, step=1e-5):
    """Central differences in float64."""
    return np.array([(function(at + step * unit) - function(at - step * unit)) / (2 * step) for unit in np.eye(len(at))])


def as_single(surrogate):
    return Surrogate(*(single(part) for part in surrogate))


def started(rates, unexplained=0.0):
    """Rates, then unexplained variances, of one model [1, s + S]."""
    return single([[*rates, *[unexplained] * SPECIES]])


def test_the_log_likelihood_is_that_of_a_multivariate_normal():
    surrogate = made_up()
    found = evaluated(surrogate, CHOSEN, RATES)
    exact = log_likelihood(surrogate, CHOSEN, RATES)
    assert abs(float(found.log_likelihood[0]) - exact) < 100 * EPSILON * abs(exact)
    mean, covariances = moments(surrogate, CHOSEN, RATES)
    residuals = surrogate.targets - mean
    squares = np.einsum("kx,kxy,ky->k", residuals, np.linalg.inv(covariances), residuals)
    assert np.allclose(found.squares[0], squares, rtol=1e-4) and np.allclose((found.whitened[0] ** 2).sum(-1), squares, rtol=1e-4)
    assert np.allclose(found.factor[0] @ jnp.swapaxes(found.factor[0], -1, -2), covariances, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 0.005], ids=["one path", "mean of 200"])
@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_score_is_the_derivative_of_the_log_likelihood(scale, factor):
    """Where mean and covariance are linear in the rates, at the truth and away from it."""
    surrogate, rates = made_up(1, scale), factor * RATES
    exact = slopes(lambda rates: log_likelihood(surrogate, CHOSEN, rates), rates)
    found = np.asarray(evaluated(surrogate, CHOSEN, rates).score[0])
    mean, covariances = moments(surrogate, CHOSEN, rates)
    terms = np.abs(surrogate.integrals[:, CHOSEN] * np.einsum("kix,kx->ki", surrogate.impacts[:, CHOSEN], surrogate.targets - mean)).sum(0)
    assert np.all(np.abs(found - exact) < 1e-6 * np.abs(exact) + 1000 * EPSILON * terms)


def test_a_source_of_variance_has_the_derivative_of_the_covariance_alone():
    """The second entry leaves the mean as it is."""
    surrogate = made_up(2)
    mean, _ = moments(surrogate, CHOSEN[:1], RATES[:1])

    def value(rates):
        _, covariances = moments(surrogate, CHOSEN, rates)
        first = moments(surrogate, CHOSEN[:1], rates[:1])[0]
        return sum(multivariate_normal.logpdf(x - m, None, v) for x, m, v in zip(surrogate.targets, first, covariances, strict=True))

    _, covariances = moments(surrogate, CHOSEN, RATES)
    parts = (surrogate.targets - mean, covariances, surrogate.integrals[:, CHOSEN], surrogate.impacts[:, CHOSEN])
    found = QUASI_SCORE(*(single(part)[None] for part in parts), single(surrogate.scale), np.array([1.0, 0.0]))
    assert np.allclose(found.score[0], slopes(value, RATES), rtol=1e-3)


def test_the_information_is_the_covariance_of_the_score_at_the_truth():
    """Over 4000 data sets from the model, mean 0 and covariance as said; for Gaussian data the score has no other terms."""
    surrogate, number = made_up(3), 4000
    mean, covariances = moments(surrogate, CHOSEN, RATES)
    noise = np.random.default_rng(4).normal(size=(number, K, SPECIES))
    residuals = np.einsum("kxy,bky->bkx", np.linalg.cholesky(covariances), noise)
    parts = (covariances, surrogate.integrals[:, CHOSEN], surrogate.impacts[:, CHOSEN])
    repeated = (jnp.broadcast_to(single(part), (number, *part.shape)) for part in parts)
    found = QUASI_SCORE(single(residuals), *repeated, single(surrogate.scale))
    score, information = np.asarray(found.score, float), np.asarray(found.information[0], float)
    sizes = np.sqrt(np.diag(information))
    assert_mean(score / sizes, np.zeros(2), largest_standard_error=0.02)
    products = (score[:, :, None] * score[:, None] / sizes[:, None] / sizes)[:, [0, 0, 1], [0, 1, 1]]
    assert_mean(products, (information / sizes[:, None] / sizes)[[0, 0, 1], [0, 1, 1]], largest_standard_error=0.04)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_small_factors_and_substitutions_are_those_of_numpy(size):
    """Condition numbers below 100: an error of a few thousand roundings at most."""
    generator = np.random.default_rng(size)
    roots = np.linalg.qr(generator.normal(size=(7, 4, size, size)))[0] * np.sqrt(generator.uniform(0.1, 5.0, size=(7, 4, 1, size)))
    matrices, right = roots @ np.swapaxes(roots, -1, -2), generator.normal(size=(7, 4, size, 3))
    exact = np.linalg.cholesky(matrices)
    factor, rounding = single(exact), 2000 * EPSILON
    assert np.allclose(cholesky(single(matrices)), exact, rtol=rounding, atol=rounding)
    assert np.allclose(forward_substitution(factor, single(right)), np.linalg.solve(exact, right), rtol=rounding, atol=10 * rounding)
    turned = np.swapaxes(exact, -1, -2)
    assert np.allclose(backward_substitution(factor, single(right)), np.linalg.solve(turned, right), rtol=rounding, atol=10 * rounding)


def test_a_singular_matrix_has_a_finite_factor():
    assert np.isfinite(cholesky(single([[1.0, 1.0], [1.0, 1.0]]))).all()


def evaluation(log_likelihood, score, information):
    nothing = jnp.zeros((1, 1))
    return Evaluation(single([log_likelihood]), single([score]), single([information]), nothing, nothing, nothing)


def test_a_step_is_that_of_fisher_in_logarithms_and_is_limited():
    """(r I r)⁻¹ r score, in parts of each rate; at most a factor of 4; a rate of 0 stays 0 and moves no other."""
    information, rates = np.array([[3.0, 1.0], [1.0, 2.0]]), np.array([0.5, 2.0])
    score = np.array([0.2, -0.3])
    curvature = information * rates[:, None] * rates
    change = np.linalg.solve(curvature + 1e-5 * curvature.max() * np.eye(2), score * rates)
    stepped = CLIMBED(start_climb(single([rates])), evaluation(0.0, score, information), single(0)).trial[0]
    assert np.allclose(stepped, rates * (1 + change), rtol=100 * EPSILON)
    padded = np.pad(information, ((0, 1), (0, 1)), constant_values=0.7)
    longer = CLIMBED(start_climb(single([[*rates, 0.0]])), evaluation(0.0, [*score, 9.0], padded), single(0)).trial[0]
    assert longer[2] == 0 and np.allclose(longer[:2], stepped, rtol=100 * EPSILON)
    far = CLIMBED(start_climb(single([rates])), evaluation(0.0, [900.0, -900.0], np.diag([3.0, 2.0])), single(0)).trial[0]
    assert np.allclose(far, rates * [4, 0.25], rtol=EPSILON)


def test_a_step_that_makes_it_worse_is_taken_back_and_a_quarter_of_it_is_tried():
    """Also where the likelihood is not a number; what was best is kept."""
    start = CLIMBED(start_climb(single([[1.0]])), evaluation(-10.0, [0.6], [[1.0]]), single(0))
    assert np.allclose(start.trial, 1.6, rtol=1e-4)
    for worse in (-11.0, np.nan, -np.inf):
        back = CLIMBED(start, evaluation(worse, [5.0], [[1.0]]), single(0))
        assert back.rates == 1 and back.log_likelihood == -10
        assert np.allclose(back.trial, 1.15, rtol=1e-4)
    slack = CLIMBED(start, evaluation(-11.0, [0.0], [[1.0]]), single(2.0))
    assert np.allclose(slack.rates, start.trial) and slack.log_likelihood == -11


def test_entries_of_rate_0_change_nothing():
    """Whatever candidate stands there: the fits, their likelihoods, and the score tests."""
    surrogate = as_single(made_up(5))
    short, long = jnp.array([[0, 3]]), jnp.array([[0, 3, 1]])
    plain = fit_rates(started([1.0, 1.0], 0.1), short, surrogate, num_steps=12)
    padded = fit_rates(started([1.0, 1.0, 0.0], 0.1), long, surrogate, num_steps=12)
    rounding = 1e-4
    assert np.allclose(np.delete(padded[0], 2, axis=1), plain[0], rtol=rounding, atol=1e-6) and padded[0][0, 2] == padded[2][0, 2] == 0
    assert np.allclose(padded[1], plain[1], rtol=rounding) and np.allclose(padded[3], plain[3], rtol=rounding)
    assert np.allclose(padded[2][:, :2], plain[2], rtol=rounding)
    tests = [score_tests(started([*RATES, *rest], 0.1), chosen, surrogate) for rest, chosen in (((), short), ((0.0,), long))]
    assert np.allclose(*tests, rtol=1e-3, atol=1e-3)


def test_fits_end_at_the_maximum():
    """Against Nelder and Mead in float64, with nothing unexplained, from rates 4 times too large and too small."""
    surrogate = made_up(6)

    def loss(logarithms):
        return -log_likelihood(surrogate, CHOSEN, np.exp(logarithms))

    best = minimize(loss, np.log(RATES), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9})
    for factor in (0.25, 4.0):
        loose, loose_likelihood, strict, likelihood = fit_rates(started(factor * RATES, 0.5), jnp.array([CHOSEN]), as_single(surrogate), num_steps=12)
        assert np.allclose(strict[0], np.exp(best.x), rtol=1e-3)
        assert abs(float(likelihood[0]) + best.fun) < 1e-3
        assert float(loose_likelihood[0]) > float(likelihood[0]) - 1e-3 and np.all(np.asarray(loose) >= 0)


def test_unexplained_variance_stands_for_a_reaction_that_is_missing():
    """Of a model that lacks candidate 3, the fit that may leave something is better by far, and the strict fit leaves nothing."""
    surrogate = as_single(made_up(7))
    loose, loose_likelihood, strict, likelihood = fit_rates(started([1.0], 1.0), jnp.array([[0]]), surrogate, num_steps=12)
    assert float(loose_likelihood[0]) > float(likelihood[0]) + 10 and np.asarray(loose)[0, 1:].max() > 1 and strict.shape == (1, 1)


def test_score_tests_are_those_of_rao():
    """Score² over the part of the information that the fitted entries do not explain, by numpy; 0 where a rate would fall below 0."""
    surrogate, everything, signs = made_up(8), np.arange(CANDIDATES), set()
    for factor in (0.5, 1.5):
        rates = np.zeros(CANDIDATES)
        rates[CHOSEN] = factor * RATES
        found = evaluated(surrogate, everything, rates)
        score, information = np.asarray(found.score[0], float), np.asarray(found.information[0], float)
        gains = np.asarray(score_tests(started(rates[CHOSEN]), jnp.array([CHOSEN]), as_single(surrogate)))[0]
        inner = information[np.ix_(CHOSEN, CHOSEN)]
        for j in (1, 2, 4):
            cross = information[CHOSEN, j]
            rao = score[j] ** 2 / (information[j, j] - cross @ np.linalg.solve(inner, cross)) if score[j] > 0 else 0
            assert np.isclose(gains[j], rao, rtol=1e-3)
            signs.add(np.sign(score[j]))
    assert signs == {-1, 1}


def test_score_tests_tell_the_gain_of_a_fit_that_takes_the_candidate_in():
    """Twice the gain of the log-likelihood, to leading order: of 60 small data sets, on average within 10 %, and the same one is best."""

    def fit(surrogate, rates, chosen):
        return fit_rates(started(rates), jnp.array([chosen]), as_single(surrogate), num_steps=12)[2:]

    gains, fitted = [], []
    for seed in range(60):
        surrogate = made_up(100 + seed, scale=0.05)
        base, likelihood = fit(surrogate, RATES, CHOSEN)
        base = np.asarray(base)[0]
        found = np.asarray(score_tests(started(base), jnp.array([CHOSEN]), as_single(surrogate)))[0, [1, 2, 4]]
        more = [fit(surrogate, [*base, 0.02], [*CHOSEN, j])[1][0] for j in (1, 2, 4)]
        gains.append(found)
        fitted.append(2 * (np.array(more) - float(likelihood[0])))
    gains, fitted = np.array(gains), np.array(fitted).clip(0)
    assert abs(fitted.sum() / gains.sum() - 1) < 0.1
    assert np.abs(fitted[gains == 0]).max() < 0.02
    clear = np.ptp(np.sort(gains, axis=1)[:, -2:], axis=1) > 0.5
    assert clear.sum() > 20 and np.array_equal(gains.argmax(1)[clear], fitted.argmax(1)[clear])
