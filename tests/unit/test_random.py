"""The per-path stream: xoshiro128++ as published, its seeds, and numbers that can never freeze a path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import LIMIT

from ssagrad.random import next_bits, next_exponential, next_uniform, noise, noise_key, seed_streams

WORD = 0xFFFFFFFF


def published_generator(state):
    """xoshiro128++ 1.0, after the public-domain C code of Blackman and Vigna (prng.di.unimi.it/xoshiro128plusplus.c)."""
    s = list(state)

    def rotate(value, places):
        return ((value << places) | (value >> (32 - places))) & WORD

    while True:
        yield (rotate((s[0] + s[3]) & WORD, 7) + s[0]) & WORD
        shifted = (s[1] << 9) & WORD
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= shifted
        s[3] = rotate(s[3], 11)


def streams_of(*states):
    return tuple(jnp.array(words, jnp.uint32) for words in zip(*states, strict=True))


def streams_that_give(bits):
    """States whose next output is `bits`, whatever the two other words: s0 = 0 and s3 = bits rotated back by 7."""
    return streams_of((0, 0x9E3779B9, 0x7F4A7C15, ((bits << 25) | (bits >> 7)) & WORD))


def draw(stream, num_draws):
    stream, bits = jax.lax.scan(lambda s, _: next_bits(s), stream, length=num_draws)
    return np.asarray(bits)


def test_the_published_code_gives_the_known_vectors():
    """The reference here reproduces the outputs printed elsewhere: from (1, 2, 3, 4) the first four, and the 102,401st (PHP's own test)."""
    reference = published_generator([1, 2, 3, 4])
    assert [next(reference) for _ in range(4)] == [641, 1573767, 3222811527, 3517856514]
    for _ in range(102_400 - 4):
        next(reference)
    assert next(reference) == int.from_bytes(bytes.fromhex("fa3c872c"), "little")


def test_streams_are_xoshiro128plusplus():
    """A thousand outputs of three states side by side are those of the published code."""
    states = [(1, 2, 3, 4), (WORD, 0, 1, 0x80000000), (123456789, 362436069, 521288629, 88675123)]
    bits = draw(streams_of(*states), 1000)
    for column, state in zip(bits.T, states, strict=True):
        reference = published_generator(state)
        assert column.tolist() == [next(reference) for _ in range(1000)]


def test_a_stream_depends_on_the_key_and_its_place_alone():
    """Path i has the same state whatever the number of paths; other keys give other states; no two paths share one."""
    few, many = seed_streams(jax.random.key(1), 5), seed_streams(jax.random.key(1), 1000)
    assert few.shape == (4, 5)
    assert few.dtype == jnp.uint32
    assert np.array_equal(few, many[:, :5])
    assert not np.any(np.all(np.asarray(many) == np.asarray(seed_streams(jax.random.key(2), 1000)), axis=0))
    assert len({tuple(state) for state in np.asarray(many).T.tolist()}) == 1000
    assert not np.any(np.all(np.asarray(many) == 0, axis=0))


def test_one_key_per_path():
    """Equal keys give equal streams, new-style and old-style keys alike; a wrong number of keys is refused."""
    keys = jax.random.split(jax.random.key(3), 4)
    streams = seed_streams(keys, 4)
    assert np.array_equal(streams, seed_streams(jax.random.clone(keys), 4))
    assert np.array_equal(streams, seed_streams(jax.random.key_data(keys), 4))
    assert np.array_equal(seed_streams(jax.random.PRNGKey(5), 3), seed_streams(jax.random.key(5), 3))
    with pytest.raises(ValueError, match=r"expected one key, or one key per path \(5\), received keys of shape \(4,\)"):
        seed_streams(keys, 5)


@pytest.mark.parametrize("bits", [0, 1, 2, 0x7F, 0x80, 0x7FFFFFFF, 0x80000000, 0xFFFFFF00, 0xFFFFFF7F, 0xFFFFFF80, 0xFFFFFFFE, WORD])
def test_extreme_bits_give_usable_numbers(bits):
    """Uniform numbers are in [0, 1), exponential numbers finite and not negative, at the ends of the range of bits."""
    stream = streams_that_give(bits)
    assert int(next_bits(stream)[1][0]) == bits
    uniform, exponential = next_uniform(stream, jnp.float32)[1], next_exponential(stream, jnp.float32)[1]
    assert uniform.dtype == exponential.dtype == jnp.float32
    assert 0 <= float(uniform[0]) < 1
    assert 0 <= float(exponential[0]) < 23
    assert not np.isnan(exponential).any()


@pytest.mark.parametrize("bits", [0, 1, 0xFFFFFFFE, WORD])
def test_extreme_bits_in_double_precision(bits):
    """The same in float64, which takes two words a number."""
    with jax.enable_x64(True):
        stream = streams_that_give(bits)
        uniform, exponential = next_uniform(stream, jnp.float64)[1], next_exponential(stream, jnp.float64)[1]
        assert uniform.dtype == exponential.dtype == jnp.float64
        assert 0 <= float(uniform[0]) < 1
        assert 0 <= float(exponential[0]) < 44


def test_bytes_are_uniform():
    """Every byte of the output of 64 seeded streams is uniform: chi-square with 255 degrees of freedom each, as a z-score."""
    bits = draw(tuple(seed_streams(jax.random.key(11), 64)), 4096).reshape(-1)
    for shift in (0, 8, 16, 24):
        observed = np.bincount((bits >> shift) & 255, minlength=256)
        statistic = np.sum((observed - bits.size / 256) ** 2) / (bits.size / 256)
        assert abs(statistic - 255) / np.sqrt(2 * 255) < LIMIT


def test_streams_and_steps_are_uncorrelated():
    """Uniform numbers are uncorrelated across neighbouring streams, far streams, and successive steps of one stream."""
    bits = draw(tuple(seed_streams(jax.random.key(12), 512)), 512)
    centred = (bits.astype(float) + 0.5) / 2**32 - 0.5
    for other in (np.roll(centred, 1, axis=1), np.roll(centred, 256, axis=1), np.roll(centred, 1, axis=0), np.roll(centred, 2, axis=0)):
        z = 12 * np.mean(centred * other) * np.sqrt(centred.size)
        assert abs(z) < LIMIT


def test_moments_of_uniform_and_exponential_numbers():
    """Uniform numbers have moments 1/2, 1/3; exponential ones 1, 2, 6."""
    stream = tuple(seed_streams(jax.random.key(13), 1_000_000))
    stream, uniform = next_uniform(stream, jnp.float32)
    _, exponential = next_exponential(stream, jnp.float32)
    for samples, moments in ((uniform, (1 / 2, 1 / 3)), (exponential, (1.0, 2.0, 6.0))):
        powers = np.stack([np.asarray(samples, float) ** (k + 1) for k in range(len(moments))], axis=1)
        z = (powers.mean(0) - moments) / (powers.std(0) / 1000)
        assert np.all(np.abs(z) < LIMIT)


def test_noise_is_exponential_and_independent():
    """Numbers under one key, under others, and those the keys are made of: moments 1, 2, 6 and a histogram of Exp(1), finite, > 0, uncorrelated."""
    stream, drawn = tuple(seed_streams(jax.random.key(14), 1_000_000)), []
    for _ in range(4):
        stream, exponential = next_exponential(stream, jnp.float32)
        drawn.append(exponential)
    first, second = noise_key(drawn[:2]), noise_key(drawn[2:])
    few = noise_key((drawn[2], 1000 - (1000 - drawn[3] / 1000)))  # a waiting time, of which rounding leaves some hundred values
    pairs = [(first, 0), (first, 1), (first, 12), (second, 0), (few, 0), (few, 1)]
    samples = np.stack([*drawn, *(noise(key, number, jnp.float32) for key, number in pairs)]).astype(float)
    assert np.all((samples > 0) & (samples < 23))
    powers = np.stack([samples, samples**2, samples**3])
    z = (powers.mean(-1) - np.array([[1], [2], [6]])) / (powers.std(-1) / 1000)
    assert np.all(np.abs(z) < LIMIT)
    for row in samples:
        observed = np.bincount((64 * np.exp(-row)).astype(int), minlength=64)
        assert abs(np.sum((observed - 15625) ** 2) / 15625 - 63) / np.sqrt(2 * 63) < LIMIT
    for powered in (samples, np.log(samples)):
        correlations = np.corrcoef(powered)[np.triu_indices(len(samples), 1)]
        assert np.all(np.abs(correlations) < LIMIT / 1000)


def test_noise_is_good_to_five_digits():
    """Against the logarithm of the hashed bits, which lowbias32 turns 0 into 0: the smallest uniform number, and many others."""
    nothing = (jnp.zeros(1, jnp.uint32), jnp.zeros(1, jnp.uint32))
    assert np.isclose(noise(nothing, 0, jnp.float32)[0], 24 * np.log(2), rtol=1e-6)
    key = (jnp.arange(1_000_000, dtype=jnp.uint32), jnp.zeros(1_000_000, jnp.uint32))
    bits = np.arange(1_000_000, dtype=np.uint32)
    bits = (bits ^ (bits >> 16)) * np.uint32(0x21F0AAAD)
    bits = (bits ^ (bits >> 15)) * np.uint32(0x735A2D97)
    exact = -np.log((((bits ^ (bits >> 15)) >> 9) + 0.5) / 2**23)
    assert np.abs(np.asarray(noise(key, 0, jnp.float32), float) - exact).max() < 1e-5
