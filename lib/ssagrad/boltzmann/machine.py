"""A deep Boltzmann machine on lattices: layers of one-or-none units, joined to 2 × 2 blocks of the layer above, and its Gibbs sampling.

    E = − Σ_l Σ_α a^l_α Σ_i s^l_iα − Σ_l Σ_αβ W^l_αβ Σ_<ij> s^l_iα s^{l+1}_jβ,   p = e^{−E} / Z

A unit is empty or holds one of two kinds; layer 0 is the lattice that is seen (prey, hunters), the others are latent. Parameters are the same at all
sites. Each unit (i, j) is joined to (i + 0 or 1, j + 0 or 1) of the layer above, periodic: four links either way.

Reference: Ernst et al. 2019, arXiv:1905.12122, supplement (energy, layers, links).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.random import next_bits

KINDS = ("P", "H")
States = tuple[jax.Array, ...]  # layers: int8 [side, side, chains], 0 empty, 1 and 2 the kinds


@dataclass(frozen=True)
class Machine:
    """What is connected: the number of latent layers (0 to 2), and whether weights join different kinds as well.

    A vector θ [P] holds biases a^l_α, layer by layer, then weights W^l_αβ, of equal kinds and then of different ones, in the order of `names`.
    """

    num_latent: int = 2
    cross: bool = False

    @property
    def num_layers(self) -> int:
        """Layers, the visible one included."""
        return self.num_latent + 1

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters [P]."""
        biases = [f"a{layer}_{kind}" for layer in range(self.num_layers) for kind in KINDS]
        return (*biases, *(f"W{lower}{lower + 1}_{KINDS[one]}{KINDS[other]}" for lower, one, other in self.links))

    @property
    def links(self) -> tuple[tuple[int, int, int], ...]:
        """(lower layer, its kind, kind above) of each weight."""
        equal = [(lower, kind, kind) for lower in range(self.num_latent) for kind in range(2)]
        return (*equal, *((lower, kind, 1 - kind) for lower in range(self.num_latent) for kind in range(2) if self.cross))

    @property
    def num_parameters(self) -> int:
        """P."""
        return 2 * self.num_layers + len(self.links)


def independent_start(machine: Machine, density: float) -> np.ndarray:
    """θ [P] of independent sites that hold each kind with probability `density`: visible biases ln(p/(1 − 2p)), all else 0."""
    return np.append(np.full(2, np.log(density / (1 - 2 * density))), np.zeros(machine.num_parameters - 2))


def noise(key: jax.Array, machine: Machine, side: int, num_chains: int) -> States:
    """Random layers: each unit empty or of either kind with probability 1/3 (to 2⁻¹⁰)."""
    bits = jax.random.bits(key, (side, side, num_chains), jnp.uint32)
    return tuple(((((bits >> (10 * layer)) & 1023) * 3) >> 10).astype(jnp.int8) for layer in range(machine.num_layers))


def statistics(machine: Machine, states: States) -> jax.Array:
    """What is conjugate to θ, summed over the lattice, of each chain: float32 [P, chains]."""
    found = [_total(layer == kind) for layer in states for kind in (1, 2)]
    above = [_blocks(layer, -1) for layer in states[1:]]
    found += [_total((states[lower] == one + 1).astype(jnp.int8) * above[lower][other]) for lower, one, other in machine.links]
    return jnp.stack(found)


@partial(jax.jit, static_argnames=("machine", "clamped"))
def sweep(key: jax.Array, machine: Machine, theta: jax.Array, states: States, *, num_sweeps: int | jax.Array, clamped: bool) -> States:
    """Gibbs sweeps of binary samples: latent layers from the lowest up with the visible one clamped, or odd layers and then even ones.

    A sweep with `clamped` draws layer 1 given 0 and 2, then 2 given 1; without, layer 1 given 0 and 2, then 0 and 2 given 1. Both leave the law
    p of the machine invariant; ten sweeps from noise need not be near it.

    Args:
        theta: [P, chains], one vector for each chain. states: layers [side, side, chains].
    """
    layers = range(1, machine.num_layers) if clamped else [*range(1, machine.num_layers, 2), *range(0, machine.num_layers, 2)]
    bits = jax.random.bits(key, states[0].shape, jnp.uint32)

    def one(_, carry):
        states, stream = list(carry[0]), carry[1]
        for layer in layers:
            stream, states[layer] = _draw(stream, *_odds(machine, theta, states, layer))
        return tuple(states), stream

    return jax.lax.fori_loop(0, num_sweeps, one, (states, _stream(bits)))[0]


def visible_odds(machine: Machine, theta: jax.Array, states: States) -> tuple[jax.Array, jax.Array]:
    """Probabilities of prey and of a hunter at each visible site given the layer above: two arrays [side, side, chains]."""
    prey, hunter = _odds(machine, theta, states, 0)
    total = 1 + prey + hunter
    return prey / total, hunter / total


def _odds(machine: Machine, theta: jax.Array, states: States, layer: int) -> tuple[jax.Array, jax.Array]:
    """e^field of each kind at each unit of a layer: odds against empty."""
    fields = [jnp.broadcast_to(theta[2 * layer + kind][None, None], states[layer].shape) for kind in range(2)]
    below = _blocks(states[layer - 1], 1) if layer else None
    above = _blocks(states[layer + 1], -1) if layer < machine.num_latent else None
    for weight, (lower, one, other) in zip(theta[2 * machine.num_layers :, None, None], machine.links, strict=True):
        if layer == lower:
            fields[one] += weight * above[other].astype(theta.dtype)
        elif layer == lower + 1:
            fields[other] += weight * below[one].astype(theta.dtype)
    return jnp.exp(fields[0]), jnp.exp(fields[1])


def _draw(stream: States, prey: jax.Array, hunter: jax.Array) -> tuple[States, jax.Array]:
    stream, bits = next_bits(stream)
    level = (bits >> 8).astype(jnp.int32).astype(prey.dtype) * 2.0**-24 * (1 + prey + hunter)
    return stream, (level < prey).astype(jnp.int8) + 2 * ((level >= prey) & (level < prey + hunter)).astype(jnp.int8)


def _stream(bits: jax.Array) -> States:
    """States of xoshiro128++ from one random word a unit, spread by Weyl steps and the finaliser of MurmurHash3."""
    words = []
    for place in range(1, 5):
        word = bits + jnp.uint32(place * 0x9E3779B9 % 2**32)
        word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
        word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
        words.append(word ^ (word >> 16))
    return tuple(words)


def _blocks(layer: jax.Array, shift: int) -> tuple[jax.Array, jax.Array]:
    """How many units of each kind the 2 × 2 blocks hold that begin (shift −1) or end (shift 1) at each place: two int8 arrays.

    Both numbers share one byte while they are added up. The barriers keep the compiler from wrapping around inside of the loops, which
    makes them twice as fast.
    """
    layer = layer * layer
    values = layer * layer  # 0, 1 or 16
    for axis in range(2):
        edge = jax.lax.slice_in_dim(values, 0, 1, axis=axis) if shift < 0 else jax.lax.slice_in_dim(values, -1, None, axis=axis)
        values = jax.lax.optimization_barrier(jnp.concatenate([values, edge] if shift < 0 else [edge, values], axis))
        values = jax.lax.slice_in_dim(values, 1, None, axis=axis) + jax.lax.slice_in_dim(values, 0, -1, axis=axis)
    return values & 15, values >> 4


def _total(values: jax.Array) -> jax.Array:
    return values.astype(jnp.float32).sum((0, 1))
