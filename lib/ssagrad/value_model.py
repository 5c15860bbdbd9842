"""Value functions for variance reduction: V(x, t) ≈ E[f(x_T) | x_t = x], as a linear-quadratic control problem.

What a control leaves over is what its V fails to satisfy, (∂_t + L) V = 0. So V = φ(x) · c(t), with c = c_f at the observation and continuous, is
chosen to minimise just that,

    ∫ E[((∂_t + L) φ · c)²] w(t) dt,      w(t) = t, as the variance of the score which multiplies it grows,

backwards in time: c is the state and its rate of change the input of a linear-quadratic regulator, whose Riccati recursion needs nothing of f.
Averages of products of φ and L φ over a few pilot paths decide everything. Where a network closes on its features (all rates linear), V is
exact; elsewhere fast or badly described features are kept out of V to the extent that they cost more than they explain. So that V does not grow
without bounds where no pilot path went, and a path one day will, the averages hold a little of states that are put together from several paths.

Reference: Anderson and Moore 1990, "Optimal Control: Linear Quadratic Methods", chapter 2.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import custom_batching, lax

from ssagrad import quadratic
from ssagrad.features import Features, parts_of
from ssagrad.kernel import stage
from ssagrad.quadratic import act_on_pairs
from ssagrad.score import Scalars, slopes

_SMALLEST = 3e-5  # singular value of the features, relative to the largest, that single precision still resolves
_ORTHONORMAL_STATES = 2048  # of the pilot that make the features orthonormal
_STRANGE = 1e-4  # weight of recombined states, relative to those of the pilot
_SHRINKAGE = 4.0  # states per feature and stratum at which local averages count as much as those of all times
_POLYNOMIALS = (np.array([1.0, -1.0]), np.array([0.0, 1.0]), np.array([0.0, 1.0, -1.0]), np.array([0.0, 1.0, -3.0, 2.0]))
_GOLDEN = (5**0.5 - 1) / 2  # multiples of it, modulo 1, stay far apart
_RIDGE = 1e-6  # of what is inverted, relative to its diagonal


def num_polynomials(features: Features) -> int:
    """H, of the polynomials in time that V is expanded in across a stratum: the last one is not worth its cost where features are many."""
    return len(_POLYNOMIALS) - features.is_large


def polynomials(u: jax.Array, number: int) -> tuple[jax.Array, jax.Array]:
    """The first ones of 1 − u, u, u (1 − u), u (1 − u) (1 − 2u), for u from 0 to 1 across a stratum: values [H, n], and slopes in u."""
    chosen = _POLYNOMIALS[:number]
    slopes_of = [np.polynomial.polynomial.polyder(p) for p in chosen]
    return tuple(jnp.stack([sum(float(c) * u**k for k, c in enumerate(p)) + 0 * u for p in rows]) for rows in (chosen, slopes_of))


def _products(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """∫ b_i b_j, ∫ b_i b_j' and ∫ b_i' b_j' over [0, 1], each [H, H]."""
    points, weights = np.polynomial.legendre.leggauss(4)
    u = (points + 1) / 2
    b = np.stack([np.polynomial.polynomial.polyval(u, p) for p in _POLYNOMIALS[:number]])
    d = np.stack([np.polynomial.polynomial.polyval(u, np.polynomial.polynomial.polyder(p)) for p in _POLYNOMIALS[:number]])
    return tuple(np.einsum("iu,ju,u->ij", x, y, weights / 2) for x, y in ((b, b), (b, d), (d, d)))


def _free(number: int) -> np.ndarray:
    """The polynomials that are free in a stratum: all but that of V at its end."""
    return np.array([0, *range(2, number)])


class ValueModel(NamedTuple):
    """What the pilot paths taught; coefficients are those of orthonormal features φ · root.

    location, scale: of the variables [V]. root: [J, J]. species: coefficients of the counts [J, S].
    widths: of the strata [W].
    step: V at the start of a stratum, and of the H − 2 inner polynomials, from V at its end [W, (H − 1) J, J].
    response: R, whose RᵀR gives the same from the residual's projection on them [W, (H − 1) J, (H − 1) J].
    cross: averages of ψ · φ and ψ · Lφ, for ψ = φ and Γ_1 φ … Γ_P φ (or without these) [W, 1 + P, 2, J, J].
    """

    location: jax.Array
    scale: jax.Array
    root: jax.Array
    species: jax.Array
    widths: jax.Array
    step: jax.Array
    response: jax.Array
    cross: jax.Array


class Action(NamedTuple):
    """Features [J, n], generator L φ = Σ_r a_r Δ_r φ [J, n], and Γ_p φ = Σ_r ∂_p a_r Δ_r φ [P, J, n] at n states."""

    features: jax.Array
    generator: jax.Array
    sources: jax.Array


def act(features: Features, scalars: Scalars, location: jax.Array, scale: jax.Array, counts: tuple, parameters: Any) -> Action:
    """What the generator and its derivatives do to the features at n states, a tuple of S arrays [n]."""
    if features.in_pairs:
        return Action(*quadratic.products(features, act_on_pairs(features, scalars, location, scale, counts, parameters)))
    network = features.network
    rates = jax.vmap(lambda state: network.rates(state, parameters))(counts)
    # a reaction that cannot happen leads nowhere, so that no feature is asked for at impossible counts
    change = jnp.asarray(network.stoichiometry, counts[0].dtype)
    possible = jnp.stack([a > 0 for a in rates])
    shifted = tuple(jnp.concatenate([x[None], x[None] + jnp.where(possible, change[:, s, None], 0)]) for s, x in enumerate(counts))
    variables = features.variables(shifted, parameters)
    everywhere = features.products((variables - location[:, None, None]) / scale[:, None, None])
    here, difference = everywhere[:, 0], everywhere[:, 1:] - everywhere[:, :1]
    generator = sum(a.astype(here.dtype)[None] * difference[:, r] for r, a in enumerate(rates))
    sources = [sum((da[None] * difference[:, r] for r, da in of_scalar), jnp.zeros_like(here)) for of_scalar in slopes(network, scalars, counts, parameters)]
    return Action(here, generator, jnp.stack(sources))


def averages(
    features: Features, scalars: Scalars, location: jax.Array, scale: jax.Array, counts: tuple, parameters: Any, weights: jax.Array,
    basis: jax.Array, speed: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:  # fmt: skip
    """Sums over n states of what `act` gives there: of b L φ + b' φ for Q weights [Q, n] and H polynomials in time b, b' [H, n], which gives
    [Q, H, J]; of b Γ_p φ [P, H, J]; and of φ for each weight [Q, J].
    """
    if features.in_pairs:
        return quadratic.averages(features, act_on_pairs(features, scalars, location, scale, counts, parameters), weights, basis, speed)
    action = act(features, scalars, location, scale, counts, parameters)
    by_basis, by_speed = (weights[:, None] * part[None] for part in (basis, speed))
    drift = jnp.einsum("qhn,jn->qhj", by_basis, action.generator) + jnp.einsum("qhn,jn->qhj", by_speed, action.features)
    return drift, jnp.einsum("hn,pjn->phj", basis, action.sources), weights @ action.features.T


def fit(features: Features, scalars: Scalars, pilot: jax.Array, widths: jax.Array, parameters: Any, *, with_sources: bool) -> ValueModel:
    """The value model from pilot states [W, N, S], N in each stratum."""
    num_strata, per_stratum, _ = pilot.shape
    few = _few(pilot)
    variables = features.variables(tuple(few.T), parameters)
    location, spread = variables.mean(1), variables.std(1)
    scale = jnp.where(spread > 0, spread, 1)
    solve = least_squares(features.products((variables - location[:, None]) / scale[:, None]).T)

    def rows(states):  # φ, Lφ and Γ_p φ [2 + P, J, N]
        action = act(features, scalars, location, scale, tuple(states.T), parameters)
        first = jnp.stack([action.features, action.generator])
        return jnp.einsum("jl,ajn->aln", solve.root, jnp.concatenate([first, action.sources]) if with_sources else first)

    def products(rows):  # of φ and Lφ with all of them
        return jnp.einsum("ajn,bkn->abjk", rows[:2], rows) / rows.shape[-1]

    def averages(states):
        return products(rows(states))

    found = lax.map(partial(stage, averages), pilot)
    share = per_stratum / (per_stratum + _SHRINKAGE * features.size)
    found = share * found + (1 - share) * found.mean(0, keepdims=True)
    parts = parts_of(features.network)
    if len(set(parts)) > 1:
        strange = rows(_few(_recombined(pilot, parts)))
        possible = jnp.isfinite(strange).all((0, 1))  # a law need not be defined at a state that no path can reach
        found += _STRANGE * products(jnp.where(possible[None, None], strange, 0))[None]
    step, response = _regulator(found[:, :, :2], widths, num_polynomials(features))
    cross = jnp.swapaxes(jnp.concatenate([found[:, :, :1], found[:, :, 2:]], axis=2), 1, 2)
    return ValueModel(location, scale, solve.root, solve(few), widths, step, response, cross)


def _few(states: jax.Array) -> jax.Array:
    """Some of the states [W, N, S], of all strata [N', S]."""
    num_strata, per_stratum, num_species = states.shape
    return states.reshape(-1, num_species)[:: max(1, num_strata * per_stratum // _ORTHONORMAL_STATES)]


def _recombined(states: jax.Array, parts: tuple[int, ...]) -> jax.Array:
    """States [W, N, S] whose parts (`parts_of`) come from different states of the stratum. Some may be impossible for other reasons."""
    number = states.shape[1]
    return jnp.stack([jnp.roll(states[..., s], round(part * _GOLDEN * number) % number, axis=1) for s, part in enumerate(parts)], axis=-1)


def _regulator(averages: jax.Array, widths: jax.Array, number: int) -> tuple[jax.Array, jax.Array]:
    """`ValueModel.step` and `response` by the Riccati recursion over strata, from averages [W, 2, 2, J, J] of products of φ and Lφ."""
    size = averages.shape[-1]
    middle = jnp.cumsum(widths) - widths / 2
    values, mixed, slope = (jnp.asarray(part, widths.dtype) for part in _products(number))
    order = np.array([*_free(number), 1])  # the end of the stratum, which is given, comes last

    def advance(cost, stratum):
        average, width, weight = stratum
        quadratic = (
            jnp.einsum("ab,ij->aibj", values * width, average[1, 1])
            + jnp.einsum("ab,ij->aibj", mixed, average[1, 0])
            + jnp.einsum("ab,ij->aibj", mixed.T, average[0, 1])
            + jnp.einsum("ab,ij->aibj", slope / width, average[0, 0])
        )
        quadratic = quadratic[order][:, :, order].reshape(len(order) * size, -1).at[:size, :size].add(cost / weight)
        free = (number - 1) * size
        root = _inverse_root(quadratic[:free, :free])
        step = -root.T @ (root @ quadratic[:free, free:])
        with_end = jnp.concatenate([step, jnp.eye(size, dtype=step.dtype)])
        return weight * with_end.T @ quadratic @ with_end, (step, root)

    return lax.scan(advance, jnp.zeros_like(averages[0, 0, 0]), (averages, widths, middle / middle[-1]))[1]


# Matrices are factorised one after the other, under jax.vmap too: two batches at once wait for each other in XLA's CPU threads, forever.
@custom_batching.sequential_vmap
def _inverse_root(matrix: jax.Array) -> jax.Array:
    """R with RᵀR the inverse of a positive matrix [J, J] with a ridge, as small as single precision allows."""
    diagonal = jnp.diagonal(matrix)  # 0 for a direction that no feature has

    def factorised(ridge):
        return ridge, jnp.linalg.cholesky(matrix + jnp.diag(jnp.where(diagonal > 0, ridge * diagonal, 1)))

    def failed(found):
        return jnp.isnan(found[1][-1, -1]) & (found[0] < 1)

    _, factor = lax.while_loop(failed, lambda found: factorised(10 * found[0]), factorised(jnp.asarray(_RIDGE, matrix.dtype)))
    return lax.linalg.triangular_solve(factor, jnp.eye(len(matrix), dtype=matrix.dtype), left_side=True, lower=True)


class LeastSquares(NamedTuple):
    """min |columns c − targets|² over the directions that the columns [N, J] really span.

    root: makes the columns orthonormal (mean square 1) there, 0 elsewhere [J, J]. rotated: the orthonormal columns [N, J].
    """

    root: jax.Array
    rotated: jax.Array

    def __call__(self, targets: jax.Array) -> jax.Array:
        """Coefficients of `rotated` [J, K] for targets [N, K]."""
        return self.rotated.T @ targets / len(self.rotated)


@custom_batching.sequential_vmap
def least_squares(columns: jax.Array) -> LeastSquares:
    """The solver for columns [N, J], which are scaled to one size first; by QR and the singular values of R."""
    size = jnp.sqrt((columns**2).mean(0))
    size = jnp.where(size > 0, size, 1)
    q, r = jnp.linalg.qr(columns / size[None])
    left, singular, right = jnp.linalg.svd(r, full_matrices=False)
    kept = singular > _SMALLEST * singular[0]
    inverse = jnp.where(kept, 1 / jnp.where(kept, singular, 1), 0)
    norm = len(columns) ** 0.5
    root = norm * right.T * inverse[None] / size[:, None]
    return LeastSquares(root, norm * jnp.where(kept[None], q @ left, 0))


def coefficients(model: ValueModel, start: jax.Array, reward: jax.Array, at: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Coefficients of V (first) and of W_p, which explains Γ_p V in the same way, of K observations, in terms of φ.

    Args:
        start: coefficients of the observable in orthonormal features [J, K]. reward: of what is integrated on the way [J, K].
        at: node of each observation [K]; strata behind it have coefficients 0.

    Returns:
        In each stratum [W, H, 1 + P, J, K], and at the very start [1 + P, J, K].
    """
    number = 1 + model.step.shape[1] // model.step.shape[2]
    values, mixed, _ = (jnp.asarray(part, start.dtype) for part in _products(number))
    free, num_sources = _free(number), model.cross.shape[1] - 1

    def projected(cross, width, parts):  # of ψ · Σ_j b_j parts_j on φ b_i' + Lφ b_i of the free i
        found = jnp.einsum("ab,ij,bjk->aik", values[free] * width, cross[1], parts) + jnp.einsum("ba,ij,bjk->aik", mixed[:, free], cross[0], parts)
        return found.reshape(-1, parts.shape[-1])

    def advance(carry, stratum):
        ends, index = carry, stratum[-1]
        step, response, cross, width = stratum[:-1]
        size = step.shape[-1]
        ends = ends.at[0].set(jnp.where((at == index + 1)[None], start, ends[0]))
        paid = jnp.where((at > index)[None], reward, 0)
        push = projected(cross[0], width, jnp.stack([paid, paid, *[0 * paid] * (number - 2)]))
        parts = []
        for p in range(1 + num_sources):
            if p:
                push = projected(cross[p], width, parts[0])
            inner = (step @ ends[p] - response.T @ (response @ push)).reshape(number - 1, size, -1)
            parts.append(jnp.stack([inner[0], ends[p], *inner[1:]]))
        return jnp.stack([part[0] for part in parts]), jnp.stack(parts, axis=1)

    begin = jnp.zeros((1 + num_sources, *start.shape), start.dtype)
    rows = (model.step, model.response, model.cross, model.widths, jnp.arange(len(model.widths)))
    first, found = lax.scan(advance, begin, rows, reverse=True)
    first = first.at[0].set(jnp.where((at == 0)[None], start, first[0]))
    return jnp.einsum("lj,wbpjk->wbplk", model.root, found), jnp.einsum("lj,pjk->plk", model.root, first)
