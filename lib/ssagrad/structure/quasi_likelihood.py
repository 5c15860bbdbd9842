"""A Gaussian quasi-likelihood of observed transitions, for many candidate models at once.

A model with rates r of the reactions 1 ... s expects, from one observation to the next, an increment with mean μ and covariance V. With
G_i = E ∫ c_i(x) dt, the time integrals of the combinations of reactants, with the changes Δ_i of the counts, and with w_i, what an event of
reaction i has changed by the end of the transition (Δ_i itself, as long as the transition is short),

    ∂μ/∂r_i = G_i w_i,    V = Σ_i r_i G_i w_i w_iᵀ + what is left

so the log-likelihood of the increments, its gradient and its information in r are closed forms. While models are searched that explain little yet, each
has its own unexplained variance of every species beside, which keeps the likelihood from judging by its smallest eigenvalues. The covariance matters
as much as the mean: it tells I -> R from {I -> 0, I -> 2 R}, and a quantity that never changes in the data excludes every reaction that would change it.

References: Wedderburn 1974, doi:10.1093/biomet/61.3.439 (quasi-likelihood); Gillespie 2000, doi:10.1063/1.481811 (the Gaussian increments).
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

DISCRETENESS = 0.05  # variance that keeps V regular, molecules²: less than counting in whole molecules hides (1/12)
_LARGEST_FACTOR = 4.0  # of a rate in one step
_SLACK = 20.0  # by which a log-likelihood may fall while unexplained variances shrink
_TIGHTER = 0.2  # factor of the unexplained variances in each step towards none


class Surrogate(NamedTuple):
    """The increments of K transitions as functions of the rates of all L candidates, near one model.

    targets: increments less what is expected at rate 0 [K, S]. integrals: G [K, L]. impacts: w [K, L, S].
    left: covariance of the increments beside the reactions' own [K, S, S]. scale: of the reactions' own (1 over the number of paths averaged).
    """

    targets: Any
    integrals: Any
    impacts: Any
    left: Any
    scale: Any


class Evaluation(NamedTuple):
    """log_likelihood [B] (without the constant), its gradient in r [B, s], its information [B, s, s]; squared standardised residuals [B, K], whitened
    residuals L⁻¹ e [B, K, S] and the factors L of V [B, K, S, S].
    """

    log_likelihood: jax.Array
    score: jax.Array
    information: jax.Array
    squares: jax.Array
    whitened: jax.Array
    factor: jax.Array


def quasi_score(
    residuals: jax.Array, covariances: jax.Array, integrals: jax.Array, impacts: jax.Array, scale: jax.Array, moves_mean: np.ndarray | None = None
) -> Evaluation:
    """Of B models of s reactions: residuals [B, K, S], V [B, K, S, S], G [B, K, s], w [B, K, s, S].

    `moves_mean` [s] is 1 for a reaction, 0 for a source of variance that leaves the mean as it is. The gradient's expectation at the true model is zero
    whatever G and w, which are weights only, as long as the moments are right.
    """
    factor = cholesky(covariances)
    whitened = forward_substitution(factor, residuals[..., None])[..., 0]
    moves = forward_substitution(factor, jnp.swapaxes(impacts, -1, -2))  # L⁻¹ w_i in columns
    mean = jnp.ones(impacts.shape[2], moves.dtype) if moves_mean is None else jnp.asarray(moves_mean, moves.dtype)
    pull = (moves * whitened[..., None]).sum(-2)
    score = integrals * (mean[None, None] * pull + scale / 2 * (pull**2 - (moves**2).sum(-2)))
    overlap = jnp.einsum("bkxi,bkxj->bkij", moves, moves)
    information = jnp.einsum("bki,bkj,bkij->bij", integrals, integrals, (mean[:, None] * mean[None])[None, None] * overlap + scale**2 / 2 * overlap**2)
    squares = (whitened**2).sum(-1)
    log_determinants = 2 * jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1)).sum(-1)
    log_likelihood = -(squares + log_determinants).sum(-1) / 2
    return Evaluation(log_likelihood, score.sum(1), information, squares, whitened, factor)


class Climb(NamedTuple):
    """Fisher scoring of B models with backtracking: the rates to try next [B, s]; the best so far, their log-likelihood, and where they lead to."""

    trial: jax.Array
    rates: jax.Array
    log_likelihood: jax.Array
    direction: jax.Array
    length: jax.Array


def start_climb(rates: jax.Array) -> Climb:
    """From rates [B, s]; a rate of 0 stays 0."""
    return Climb(rates, rates, jnp.full(rates.shape[:1], -jnp.inf, rates.dtype), jnp.zeros_like(rates), jnp.ones_like(rates[:, 0]))


def climbed(climb: Climb, found: Evaluation, slack: jax.Array) -> Climb:
    """After an evaluation of the trial: go on from it where it is better (or worse by no more than the slack), else try a quarter of the way."""
    better = found.log_likelihood >= climb.log_likelihood - slack
    rates = jnp.where(better[:, None], climb.trial, climb.rates)
    log_likelihood = jnp.where(better, found.log_likelihood, climb.log_likelihood)
    direction = jnp.where(better[:, None], _scoring_direction(climb.trial, found), climb.direction)
    length = jnp.where(better, 1, climb.length / 4)
    trial = rates * jnp.clip(1 + length[:, None] * direction, 1 / _LARGEST_FACTOR, _LARGEST_FACTOR)
    return Climb(trial, rates, log_likelihood, direction, length)


@jax.jit
def climb_on(climb: Climb, *moments: jax.Array) -> tuple[Climb, Evaluation]:
    """`quasi_score` of moments at the trial, and what comes after."""
    found = quasi_score(*moments)
    return climbed(climb, found, jnp.float32(0)), found


def _scoring_direction(rates: jax.Array, found: Evaluation) -> jax.Array:
    """The step of Fisher scoring in ln r [B, s]."""
    curvature, ridge = _curvature(rates, found.information)
    factor = cholesky(curvature + ridge)
    return backward_substitution(factor, forward_substitution(factor, (found.score * rates)[..., None]))[..., 0]


def _curvature(rates: jax.Array, information: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The information in ln r [B, s, s], and what keeps it regular, also for rates of 0."""
    curvature = information * rates[:, :, None] * rates[:, None]
    ridge = 1e-5 * jnp.diagonal(curvature, axis1=-2, axis2=-1).max(-1, keepdims=True) + jnp.where(rates > 0, 0, 1)
    return curvature, jnp.eye(rates.shape[-1], dtype=rates.dtype)[None] * ridge[:, None]


@partial(jax.jit, static_argnames="num_steps")
def fit_rates(rates: jax.Array, chosen: jax.Array, surrogate: Surrogate, *, num_steps: int) -> tuple[jax.Array, ...]:
    """Fits the rates of B models of at most s reactions of the candidates chosen [B, s].

    Args:
        rates: where the fits start: rates (0 switches an entry off), then the unexplained variance of each species per transition [B, s + S].

    Returns:
        Both where they ended [B, s + S], the log-likelihood there [B], then rates and log-likelihood when nothing may stay unexplained [B, s], [B].
    """

    explained = jnp.arange(rates.shape[1]) < chosen.shape[1]

    def step(climb, number):
        tightened = (number > num_steps) & ~explained[None]
        trial = jnp.where(tightened, jnp.where(number == 2 * num_steps, 0, _TIGHTER) * climb.trial, climb.trial)
        found = _evaluate(trial, chosen, surrogate)
        climb = climbed(climb._replace(trial=trial), found, jnp.where(number > num_steps, _SLACK, 0))
        return climb, (climb.rates, climb.log_likelihood)

    _, (seen, likelihoods) = jax.lax.scan(step, start_climb(rates), jnp.arange(2 * num_steps + 1, dtype=jnp.int32))
    strict = jnp.where(explained[None], seen[-1], 0)
    return seen[num_steps], likelihoods[num_steps], strict[:, : chosen.shape[1]], _evaluate(strict, chosen, surrogate).log_likelihood


@jax.jit
def score_tests(rates: jax.Array, chosen: jax.Array, surrogate: Surrogate) -> jax.Array:
    """What each candidate would bring to B fitted models: Rao's statistic of its absent rate [B, L], 0 where the derivative is negative.

    The derivatives of the log-likelihood in all rates at 0 come from the model as it is. Reference: Rao 1948, doi:10.1017/S0305004100023987.
    """
    found = _evaluate(rates, chosen, surrogate)
    impacts, integrals, scale = surrogate.impacts, surrogate.integrals, surrogate.scale
    columns = jnp.swapaxes(impacts, -1, -2)
    new = forward_substitution(found.factor, jnp.broadcast_to(columns[None], (len(rates), *columns.shape)))
    own_integrals, own_impacts, mean = _entries(chosen, surrogate)
    old = forward_substitution(found.factor, jnp.swapaxes(own_impacts, -1, -2))
    pull, norm = (new * found.whitened[..., None]).sum(-2), (new**2).sum(-2)
    score = (integrals[None] * (pull + scale / 2 * (pull**2 - norm))).sum(1)
    own = (integrals[None] ** 2 * (norm + scale**2 / 2 * norm**2)).sum(1)
    overlap = jnp.einsum("bkxi,bkxl->bkil", old, new)
    cross = jnp.einsum("bki,kl,bkil->bil", own_integrals, integrals, mean[None, None, :, None] * overlap + scale**2 / 2 * overlap**2)
    cross = jnp.where(rates[..., None] > 0, cross, 0) * rates[..., None]
    explained = (forward_substitution(cholesky(sum(_curvature(rates, found.information))), cross) ** 2).sum(1)
    return jnp.where((score > 0) & (own > 0), score**2 / jnp.maximum(own - explained, 1e-3 * own), 0)


def _evaluate(rates: jax.Array, chosen: jax.Array, surrogate: Surrogate) -> Evaluation:
    integrals, impacts, mean = _entries(chosen, surrogate)
    flows = rates[:, None] * integrals
    residuals = surrogate.targets[None] - ((flows * mean[None, None])[..., None] * impacts).sum(-2)
    covariances = surrogate.left[None] + surrogate.scale * jnp.einsum("bks,bksx,bksy->bkxy", flows, impacts, impacts)
    return quasi_score(residuals, covariances, integrals, impacts, surrogate.scale, mean)


def _entries(chosen: jax.Array, surrogate: Surrogate) -> tuple[jax.Array, jax.Array, jax.Array]:
    """G [B, K, s + S] and w [B, K, s + S, S] of the chosen reactions, then of the unexplained variances; and which of them move the mean [s + S]."""
    integrals, impacts = (jnp.moveaxis(part[:, chosen], 0, 1) for part in (surrogate.integrals, surrogate.impacts))
    (models, number, size), species = integrals.shape, impacts.shape[-1]
    integrals = jnp.concatenate([integrals, jnp.ones((models, number, species), integrals.dtype)], axis=2)
    units = jnp.broadcast_to(jnp.eye(species, dtype=impacts.dtype), (models, number, species, species))
    return integrals, jnp.concatenate([impacts, units], axis=2), (jnp.arange(size + species) < size).astype(impacts.dtype)


def cholesky(matrices: jax.Array) -> jax.Array:
    """Lower factors of many small positive matrices [..., m, m], unrolled: batches of LAPACK calls are slow, and small loops are not."""
    size = matrices.shape[-1]
    rows: list[list[Any]] = []
    for i in range(size):
        row = []
        for j in range(i + 1):
            rest = matrices[..., i, j] - sum((a * b for a, b in zip(row, rows[j] if j < i else row)), start=jnp.zeros_like(matrices[..., 0, 0]))
            row.append(rest / rows[j][j] if j < i else jnp.sqrt(jnp.maximum(rest, jnp.finfo(matrices.dtype).tiny)))
        rows.append(row)
    zero = jnp.zeros_like(matrices[..., 0, 0])
    return jnp.stack([jnp.stack(row + [zero] * (size - len(row)), axis=-1) for row in rows], axis=-2)


def forward_substitution(factor: jax.Array, right: jax.Array) -> jax.Array:
    """L⁻¹ right, of lower factors [..., m, m] and right sides [..., m, k]."""
    solved: list[jax.Array] = []
    for i in range(factor.shape[-1]):
        rest = right[..., i, :] - sum((factor[..., i, j, None] * solved[j] for j in range(i)), start=jnp.zeros_like(right[..., 0, :]))
        solved.append(rest / factor[..., i, i, None])
    return jnp.stack(solved, axis=-2)


def backward_substitution(factor: jax.Array, right: jax.Array) -> jax.Array:
    """L⁻ᵀ right."""
    size = factor.shape[-1]
    solved: dict[int, jax.Array] = {}
    for i in reversed(range(size)):
        rest = right[..., i, :] - sum((factor[..., j, i, None] * solved[j] for j in range(i + 1, size)), start=jnp.zeros_like(right[..., 0, :]))
        solved[i] = rest / factor[..., i, i, None]
    return jnp.stack([solved[i] for i in range(size)], axis=-2)
