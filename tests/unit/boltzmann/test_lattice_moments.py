"""Moments of lattices: counted by hand, and the same whichever way they are computed."""

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.boltzmann.moments import NAMES, distances, equal_means, expected_moments, first_moment_law, lattice_moments, low_pass, product_moments


def test_a_small_lattice_by_hand():
    """Prey at (0, 0) and (0, 1), a hunter at (1, 1), on 5 × 5 sites."""
    sites = np.zeros((5, 5), int)
    sites[0, 0] = sites[0, 1] = 1
    sites[1, 1] = 2
    found = dict(zip(NAMES, lattice_moments(sites), strict=True))
    assert found["prey"] == 2 and found["hunters"] == 1
    assert found["NN prey–prey"] == 1 and found["NN prey–hunter"] == 1 and found["NN hunter–hunter"] == 0
    assert found["NNN prey–prey"] == 0 and found["NNN prey–hunter"] == 1  # (0, 0) and (1, 1); a displacement of (1, −1) would not count


def test_a_full_lattice_has_two_neighbour_pairs_a_site_and_three_next_ones():
    assert lattice_moments(np.ones((1, 4, 4), int)).tolist() == [[16, 0, 32, 0, 0, 48, 0, 0]]


def test_expected_moments_of_certain_sites_are_lattice_moments():
    sites = jax.random.randint(jax.random.key(0), (6, 6, 3), 0, 3)
    found = expected_moments((sites == 1).astype(jnp.float32), (sites == 2).astype(jnp.float32))
    assert np.allclose(found, lattice_moments(np.moveaxis(np.asarray(sites), -1, 0)))


def test_product_moments_are_the_mean_over_random_lattices():
    """4000 lattices of 10 × 10 sites with 20 % prey and 30 % hunters; within 4 standard errors."""
    sites = np.random.default_rng(0).choice(3, (4000, 10, 10), p=[0.5, 0.2, 0.3])
    values = lattice_moments(sites)
    assert (np.abs(values.mean(0) - product_moments(20.0, 30.0, 100)) < 4 * values.std(0) / np.sqrt(4000)).all()


def test_a_low_pass_keeps_what_is_slow_and_removes_what_is_fast():
    times = np.arange(1000)
    slow, fast = np.sin(0.02 * times), np.sin(1.0 * times)
    smooth = low_pass((slow + fast)[:, None])[:, 0]
    assert np.abs(smooth - slow)[250:750].max() < 0.01 and np.allclose(low_pass(np.ones((50, 2))), 1.0)


def test_the_law_of_first_moments_is_found_where_it_holds():
    """Numbers made by the law itself, with other coefficients, and noise in the pairs of single runs."""
    rng, met = np.random.default_rng(1), 50 + 30 * np.sin(np.arange(200) / 15)
    numbers = [np.array([100.0, 100.0])]
    for pairs in (met[1:] + met[:-1]) / 2:
        prey, hunters = numbers[-1]
        ahead = np.array([(1 + 0.015) * prey - 0.1 * pairs, (1 - 0.025) * hunters + 0.1 * pairs])
        numbers.append(ahead / (1 - np.array([0.015, -0.025])))
    moments = np.zeros((20, 200, 8))
    moments[..., :2], moments[..., 4] = np.array(numbers), met + rng.normal(size=(20, 200)) * 0.1
    law, error = first_moment_law(moments)
    assert np.allclose(law, [[0.03, -0.1], [-0.05, 0.1]], atol=0.002) and (error < 0.002).all() and (error > 0).all()


def test_distances_and_crossings():
    angle = np.linspace(0, 4 * np.pi, 200)
    orbit = np.stack([np.cos(angle) * (1 + angle / 50), np.sin(angle / 2)], axis=-1)
    first, second = equal_means(orbit, apart=30)
    assert second - first >= 30 and np.linalg.norm(orbit[first] - orbit[second]) < 0.1
    assert distances(np.ones((5, 8)), np.zeros((5, 8))) == dict.fromkeys(NAMES, 1.0)
