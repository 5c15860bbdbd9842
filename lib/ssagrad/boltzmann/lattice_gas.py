"""The one-dimensional lattice gas: its moments, and what reactions do to its couplings, by differentiating its partition function.

    p ∝ exp(h Σ n_i + J Σ n_i n_{i+1}),   ln Z = N ln λ(h, J),   λ the larger eigenvalue of [[1, e^{h/2}], [e^{h/2}, e^{h+J}]]

Per site, m1 = ∂ ln λ/∂h is the density, m2 = ∂ ln λ/∂J that of neighbouring pairs, and C, the Hessian of ln λ, their covariance. A reaction that
changes (m1, m2) at rates (dm1, dm2) moves the parameters at C⁻¹ (dm1, dm2): the closure that keeps both moments right at every moment. No formula is
copied: the derivatives are automatic.

Reference: Ernst, Bartol, Sejnowski and Mjolsness 2018, "Learning dynamic Boltzmann distributions as reduced models of spatial chemical kinetics",
doi:10.1063/1.5026403, arXiv:1803.01063.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

Coupling = jax.Array  # (h, J) [2]


def log_eigenvalue(coupling: Coupling) -> jax.Array:
    """ln λ: the logarithm of the partition function per site of a long chain."""
    return jnp.log(_eigenvalue(coupling))


def densities(coupling: Coupling) -> jax.Array:
    """m1 and m2 per site [2]."""
    return jax.grad(log_eigenvalue)(coupling)


def probability(coupling: Coupling, pattern: str) -> jax.Array:
    """Probability that neighbouring sites look like `pattern`, for instance "0110"."""
    h = coupling[0]
    largest = _eigenvalue(coupling)
    vector = jnp.stack([jnp.exp(h / 2), largest - 1])
    vector = vector / jnp.sqrt((vector**2).sum())
    transfer = _transfer(coupling)
    found = vector[int(pattern[0])] * vector[int(pattern[-1])]
    for one, other in zip(pattern, pattern[1:], strict=False):
        found = found * transfer[int(one), int(other)] / largest
    return found


def decay(coupling: Coupling) -> jax.Array:
    """A → 0 at unit rate: (dm1, dm2)/dt = (−m1, −2 m2)."""
    return densities(coupling) * jnp.array([-1.0, -2.0], coupling.dtype)


def branching(coupling: Coupling) -> jax.Array:
    """A → 2 A at unit rate as the paper writes it, without exclusion: (m1, m1 + m2)."""
    first, second = densities(coupling)
    return jnp.stack([first, first + second])


def branching_to_empty(coupling: Coupling) -> jax.Array:
    """A → 2 A at unit rate, the newborn on an empty neighbouring site, of either side with equal chances where both are; none where neither is."""
    grows = densities(coupling)[0] - probability(coupling, "111")
    pairs = sum(
        2 * share * (1 + right) * probability(coupling, f"{left}10{right}") for left, share in ((0, 0.5), (1, 1.0)) for right in (0, 1)
    )
    return jnp.stack([grows, pairs])


def diffusion(coupling: Coupling) -> jax.Array:
    """Hops to an empty neighbour at unit rate each way: (0, 2 P(0101) − 2 P(1100))."""
    change = 2 * (probability(coupling, "0101") - probability(coupling, "1100"))
    return jnp.stack([jnp.zeros_like(change), change])


def annihilation(coupling: Coupling) -> jax.Array:
    """A + A → 0 of neighbours at unit rate a pair: (−2 m2, −m2 − 2 P(111))."""
    pairs = densities(coupling)[1]
    return jnp.stack([-2 * pairs, -pairs - 2 * probability(coupling, "111")])


def coagulation(coupling: Coupling) -> jax.Array:
    """A + A → A of neighbours at unit rate a pair: (−m2, −m2 − P(111))."""
    pairs = densities(coupling)[1]
    return jnp.stack([-pairs, -pairs - probability(coupling, "111")])


def closure(coupling: Coupling, reaction: Callable[[Coupling], jax.Array]) -> jax.Array:
    """F = d(h, J)/dt under a reaction at unit rate: the Hessian of ln λ solved for the reaction's change of moments [2]."""
    return jnp.linalg.solve(jax.hessian(log_eigenvalue)(coupling), reaction(coupling))


def integrate(
    start: Coupling, rates: jax.Array, reactions: tuple[Callable[[Coupling], jax.Array], ...], *, step: float, num_steps: int
) -> jax.Array:
    """(h, J) at times 0, step, …, num_steps · step under reactions at given rates [R]: [num_steps + 1, 2], by Runge–Kutta steps of fourth order.

    Differentiable in the start and in the rates.
    """

    def slope(coupling):
        return closure(coupling, lambda one: sum(rate * reaction(one) for rate, reaction in zip(rates, reactions, strict=True)))

    def one(coupling, _):
        first = slope(coupling)
        second = slope(coupling + step / 2 * first)
        third = slope(coupling + step / 2 * second)
        fourth = slope(coupling + step * third)
        coupling = coupling + step / 6 * (first + 2 * second + 2 * third + fourth)
        return coupling, coupling

    return jnp.concatenate([start[None], jax.lax.scan(one, start, length=num_steps)[1]])


def sample_rings(rng: np.random.Generator, coupling: np.ndarray, length: int, num_rings: int) -> np.ndarray:
    """Rings drawn from p, exactly: the Markov chain along the ring, conditioned on closing: uint8 [n, length]."""
    h, pair = np.asarray(coupling, float)
    transfer = np.array([[1, np.exp(h / 2)], [np.exp(h / 2), np.exp(h + pair)]])
    powers = [np.linalg.matrix_power(transfer / np.linalg.eigvalsh(transfer)[-1], k) for k in range(length + 1)]
    first = (rng.random(num_rings) < powers[length][1, 1] / np.trace(powers[length])).astype(np.uint8)
    sites = [first]
    for place in range(1, length):
        weights = transfer[sites[-1]] * powers[length - place][:, first].T
        sites.append((rng.random(num_rings) * weights.sum(1) < weights[:, 1]).astype(np.uint8))
    return np.stack(sites, axis=1)


def _transfer(coupling: Coupling) -> jax.Array:
    h, pair = coupling
    edge = jnp.exp(h / 2)
    return jnp.stack([jnp.stack([jnp.ones_like(edge), edge]), jnp.stack([edge, jnp.exp(h + pair)])])


def _eigenvalue(coupling: Coupling) -> jax.Array:
    h, pair = coupling
    filled = jnp.exp(h + pair)
    return (1 + filled) / 2 + jnp.sqrt((1 - filled) ** 2 / 4 + jnp.exp(h))
