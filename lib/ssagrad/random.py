"""The random stream of each simulated path: xoshiro128++, seeded from a JAX key.

JAX's own counter-based generator is the source of every seed, and too slow for the innermost loop of a simulator. So each path owns a
xoshiro128++ state (128 bits, period 2¹²⁸ − 1) drawn from its key. Random starting points of n streams of length L overlap with
probability n² L / 2¹²⁸: 10⁻²⁰ for 10⁶ paths of 10⁶ draws.

References: Blackman and Vigna 2021, "Scrambled linear pseudorandom number generators", ACM TOMS 47(4), doi:10.1145/3460772.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

Stream = tuple[jax.Array, jax.Array, jax.Array, jax.Array]
NoiseKey = tuple[jax.Array, jax.Array]

_LOG2_BEND = (0.44265944, -0.27672833, 0.18486223, -0.09838762, 0.02627305)  # fitted at Chebyshev nodes


def seed_streams(key: jax.Array, num_paths: int) -> jax.Array:
    """Generator states uint32 [4, num_paths] from one key, or from one key per path ([num_paths] keys).

    Path i's stream depends on the key and on i alone, not on num_paths. Paths with equal keys share their stream: common random numbers.

    Raises:
        ValueError: an array of keys whose length is not num_paths.
    """
    if not hasattr(key, "dtype"):
        raise ValueError(f"expected a JAX key, for instance jax.random.key(0), received {key!r}")
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    if key.shape not in ((), (num_paths,)):
        raise ValueError(f"expected one key, or one key per path ({num_paths}), received keys of shape {key.shape}")
    return _draw_states(key, num_paths)


@partial(jax.jit, static_argnums=1)
def _draw_states(key: jax.Array, num_paths: int) -> jax.Array:
    if key.ndim == 0:
        return jax.random.bits(key, (num_paths, 4), jnp.uint32).T
    return jax.vmap(lambda one: jax.random.bits(one, (4,), jnp.uint32))(key).T


def next_bits(stream: Stream) -> tuple[Stream, jax.Array]:
    """The next 32 random bits of every stream: xoshiro128++."""
    s0, s1, s2, s3 = stream
    bits = _rotate_left(s0 + s3, 7) + s0
    shifted = s1 << jnp.uint32(9)
    s2, s3 = s2 ^ s0, s3 ^ s1
    s1, s0 = s1 ^ s2, s0 ^ s3
    return (s0, s1, s2 ^ shifted, _rotate_left(s3, 11)), bits


def next_uniform(stream: Stream, dtype: jnp.dtype) -> tuple[Stream, jax.Array]:
    """Uniform numbers in [0, 1), never 1: 31 bits in float32, 62 in float64 (as fine near 0 as the bits allow)."""
    stream, fraction = _next_fraction(stream, dtype)
    return stream, jnp.minimum(fraction, _below_one(dtype))


def next_exponential(stream: Stream, dtype: jnp.dtype) -> tuple[Stream, jax.Array]:
    """Unit exponential numbers, finite and > 0: −log of a uniform number that is never 0 (at least 2⁻³²) and never 1."""
    stream, fraction = _next_fraction(stream, dtype)
    smallest = 2.0**-32 if dtype == jnp.float32 else 2.0**-63
    return stream, -jnp.log(jnp.minimum(fraction + smallest, _below_one(dtype)))


def noise_key(random: tuple[jax.Array, jax.Array]) -> NoiseKey:
    """The bits of two random numbers as the key of `noise`, which is independent of either of them."""
    return tuple(lax.bitcast_convert_type(number.astype(jnp.float32), jnp.uint32) for number in random)


def noise(key: NoiseKey, number: int, dtype: jnp.dtype) -> jax.Array:
    """Unit exponential number `number` under a key, in any order: −log of a hash of 23 bits, good to 10⁻⁵ and a third of the cost of the exact one.

    The hash is lowbias32 (Wellons and Ettinger, github.com/skeeto/hash-prospector), which is invertible, with the second word of the key added
    halfway. The logarithm is the exponent of a float, and a polynomial of its mantissa.
    """
    bits = key[0] + jnp.uint32((number * 0x9E3779B9) % 2**32)
    bits = (bits ^ (bits >> jnp.uint32(16))) * jnp.uint32(0x21F0AAAD) + key[1]
    bits = (bits ^ (bits >> jnp.uint32(15))) * jnp.uint32(0x735A2D97)
    bits = (bits ^ (bits >> jnp.uint32(15))) >> jnp.uint32(9)
    uniform = lax.bitcast_convert_type(bits.astype(jnp.int32).astype(jnp.float32) + 0.5, jnp.int32)  # times 2²³, never at an end
    above = lax.bitcast_convert_type((uniform & 0x007FFFFF) | 0x3F800000, jnp.float32) - 1  # mantissa less 1
    bend = jnp.float32(_LOG2_BEND[-1])  # log₂(1 + x) = x + x (1 − x) × bend
    for coefficient in _LOG2_BEND[-2::-1]:
        bend = bend * above + coefficient
    logarithm = (uniform - 0x4B000000).astype(jnp.float32) * 2.0**-23 + above * (1 - above) * bend
    return (logarithm * -math.log(2)).astype(dtype)


def _below_one(dtype: jnp.dtype) -> float:
    return 1 - float(jnp.finfo(dtype).epsneg)


def _next_fraction(stream: Stream, dtype: jnp.dtype) -> tuple[Stream, jax.Array]:
    """Random multiples of 2⁻³¹ (float32; signed integers convert fast) or 2⁻⁶² (float64), from 0 to 1, rounded to the type."""
    stream, high = next_bits(stream)
    fraction = (high >> jnp.uint32(1)).astype(jnp.int32).astype(dtype) * 2.0**-31
    if dtype == jnp.float64:
        stream, low = next_bits(stream)
        fraction = fraction + (low >> jnp.uint32(1)).astype(jnp.int32).astype(dtype) * 2.0**-62
    return stream, fraction


def _rotate_left(bits: jax.Array, places: int) -> jax.Array:
    return (bits << jnp.uint32(places)) | (bits >> jnp.uint32(32 - places))
