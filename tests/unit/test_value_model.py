"""Value functions: exact where the network closes, and the best there is elsewhere."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from ssagrad import Network, models, value_model
from ssagrad.features import Features, parts_of
from ssagrad.score import scalars_of
from ssagrad.value_model import _POLYNOMIALS, _inverse_root, act, averages, coefficients, fit, least_squares, num_polynomials, polynomials

WIDTHS = np.array([0.1, 0.2, 0.3])


def fitted(model, *, degree, widths=WIDTHS, states=None, with_sources=True):
    parameters = {name: jnp.asarray(value) for name, value in model.parameters.items()}
    features, scalars = Features.of_network(model.network, degree=degree), scalars_of(parameters)
    if states is None:
        states = np.random.default_rng(1).integers(0, 30, (len(widths), 400, len(model.network.species)))
    found = fit(features, scalars, jnp.asarray(states, jnp.float32), jnp.asarray(widths, jnp.float32), parameters, with_sources=with_sources)
    return features, scalars, parameters, found


def value_at(features, model, parameters, table, counts):
    variables = features.variables(tuple(jnp.asarray(counts, jnp.float32).reshape(-1, 1)), parameters)
    return float(features.products((variables - model.location[:, None]) / model.scale[:, None])[:, 0] @ table)


def test_polynomials_and_their_slopes():
    u = np.linspace(0, 1, 7)
    values, slopes = polynomials(jnp.asarray(u), 4)
    np.testing.assert_allclose(values, [np.polynomial.polynomial.polyval(u, p) for p in _POLYNOMIALS], atol=1e-6)
    at_ends = np.asarray(values)[:, [0, -1]]
    np.testing.assert_allclose(at_ends, [[1, 0], [0, 1], [0, 0], [0, 0]], atol=1e-6)  # only the first two meet the neighbours
    shifted = polynomials(jnp.asarray(u + 1e-3), 4)[0] - polynomials(jnp.asarray(u - 1e-3), 4)[0]
    np.testing.assert_allclose(slopes, shifted / 2e-3, atol=1e-3)


def test_many_features_have_fewer_polynomials():
    few, many = (Features.of_network(model.network) for model in (models.sir(), models.promoter_repressilator()))
    assert few.size <= 128 < many.size
    assert (num_polynomials(few), num_polynomials(many)) == (4, 3)


def test_linear_network_has_the_exact_value_function():
    features, _, parameters, model = fitted(models.immigration_death(), degree=1)
    immigration, death = (float(parameters[name]) for name in ("immigration", "death"))
    at = jnp.array([3, 2])  # the count at the end of the last stratum, and of the one before
    start = jnp.stack([model.species[:, 0]] * 2, axis=1)
    tables, first = coefficients(model, start, jnp.zeros_like(start), at)
    for x in (0, 7, 25):
        for k, t in enumerate((0.6, 0.3)):
            exact = immigration / death + (x - immigration / death) * np.exp(-death * t)
            assert value_at(features, model, parameters, first[0, :, k], [x]) == pytest.approx(exact, rel=1e-4)
    assert np.all(np.asarray(tables)[2, :, :, :, 1] == 0)  # nothing behind an observation


def test_integrals_of_a_linear_network():
    features, _, parameters, model = fitted(models.immigration_death(), degree=1)
    immigration, death = (float(parameters[name]) for name in ("immigration", "death"))
    reward = model.species
    _, first = coefficients(model, jnp.zeros_like(reward), reward, jnp.array([3]))
    for x in (0, 25):
        exact = immigration / death * 0.6 + (x - immigration / death) * (1 - np.exp(-death * 0.6)) / death
        assert value_at(features, model, parameters, first[0, :, 0], [x]) == pytest.approx(exact, rel=1e-3)


def test_second_value_function_is_the_gradient_of_the_first():
    features, _, parameters, model = fitted(models.immigration_death(), degree=1)
    start = model.species[:, :1]
    _, first = coefficients(model, start, jnp.zeros_like(start), jnp.array([3]))
    immigration, death = (float(parameters[name]) for name in ("immigration", "death"))
    gone = np.exp(-death * 0.6)
    by_name = dict(zip(sorted(parameters), (value_at(features, model, parameters, first[1 + p, :, 0], [12]) for p in range(2)), strict=True))
    assert by_name["immigration"] == pytest.approx((1 - gone) / death, rel=1e-3)
    assert by_name["death"] == pytest.approx(-0.6 * gone * 12 - immigration / death**2 * (1 - gone) + immigration / death * 0.6 * gone, rel=1e-3)


@pytest.mark.parametrize("number", [4, 3])
def test_value_function_minimises_what_it_leaves_over(monkeypatch, number):
    """On a network that does not close, no other continuous V leaves a smaller weighted residual: compared with one dense least-squares problem."""
    monkeypatch.setattr(value_model, "num_polynomials", lambda features: number)
    states = np.random.default_rng(0).poisson([[[20.0], [30.0]], [[25.0], [25.0]]][0], (2, 3000)).T.reshape(1, 3000, 2)
    widths = np.array([0.02, 0.02])
    network = models.lotka_volterra()
    features, scalars, parameters, model = fitted(network, degree=1, widths=widths, states=np.concatenate([states, states]), with_sources=False)
    start = model.species[:, :1]
    tables, _ = coefficients(model, start, jnp.zeros_like(start), jnp.array([2]))
    action = act(features, scalars, model.location, model.scale, tuple(jnp.asarray(states[0].T, jnp.float32)), parameters)
    phi, generator = (np.asarray(part, float).T for part in (action.features, action.generator))
    u, weights = np.polynomial.legendre.leggauss(4)
    u, weights = (u + 1) / 2, weights / 2
    basis, slope = (np.asarray(part, float) for part in polynomials(jnp.asarray(u), number))
    gram = {(a, b): x.T @ y / len(x) for a, x in enumerate((phi, generator)) for b, y in enumerate((phi, generator))}

    def cost(tables):  # [W, H, J]
        total = 0
        for w, width in enumerate(widths):
            c, d = basis.T @ tables[w], slope.T @ tables[w] / width
            squares = [di @ gram[0, 0] @ di + 2 * di @ gram[0, 1] @ ci + ci @ gram[1, 1] @ ci for ci, di in zip(c, d, strict=True)]
            total += (w + 0.5) * width * float(weights @ squares)
        return total

    found = np.asarray(tables, float)[:, :, 0, :, 0]
    best = cost(found)
    rng = np.random.default_rng(3)
    scale = np.abs(found).max()
    for size in (1e-1, 1e-2, 1e-3):
        for _ in range(20):
            other = found + size * scale * rng.normal(size=found.shape)
            other[0, 1] = other[1, 0]  # continuous
            other[1, 1] = found[1, 1]  # the observable
            assert cost(other) > best
    drift = np.linalg.lstsq(phi, generator, rcond=None)[0]
    galerkin = np.zeros_like(found)
    nodes = [expm(drift * t) @ found[1, 1] for t in (0.04, 0.02, 0.0)]
    for w in range(2):
        galerkin[w, :2] = nodes[w], nodes[w + 1]
    assert best < cost(galerkin)


def test_recombined_states_keep_what_belongs_together():
    """Each species has the counts that it had in the stratum, and what a conservation law holds together comes from one path."""
    network = Network.from_text("A <-> B @ k, k; 0 -> X @ k; 0 -> Y @ k")
    states = np.random.default_rng(0).integers(0, 1000, (2, 50, 4)).astype(np.float32)
    states[..., 1] = 1000 - states[..., 0]
    found = np.asarray(value_model._recombined(jnp.asarray(states), parts_of(network)))
    np.testing.assert_array_equal(np.sort(found, axis=1), np.sort(states, axis=1))
    np.testing.assert_array_equal(found[..., 1], 1000 - found[..., 0])
    for one, other in ((0, 2), (0, 3), (2, 3)):
        together = {tuple(pair) for pair in states[..., [one, other]].reshape(-1, 2)}
        assert np.mean([tuple(pair) in together for pair in found[..., [one, other]].reshape(-1, 2)]) < 0.1


def test_value_function_stays_small_where_the_pilot_did_not_go(monkeypatch):
    """Two species of which the pilot never saw many at once: what is left over there falls, and no more is left over where it went."""
    network = Network.from_text("0 -> A @ k; 0 -> B @ k; A -> 0 @ d; A + B -> 0 @ c")
    random, shape = np.random.default_rng(0), (3, 2000)
    many, few, chosen = random.poisson(8, (2, *shape)), random.integers(0, 2, (2, *shape)), random.random(shape) < 0.5
    states = np.stack([np.where(chosen, many[0], few[0]), np.where(chosen, few[1], many[1])], axis=-1)
    annihilation = models.immigration_death()._replace(network=network, parameters={"k": 10.0, "d": 0.1, "c": 1.0})
    strange = np.asarray(value_model._recombined(jnp.asarray(states, jnp.float32), parts_of(network))).reshape(-1, 2)

    def left_over():
        features, scalars, parameters, model = fitted(annihilation, degree=2, states=states, widths=np.full(3, 0.1))
        start = model.species[:, :1]
        last = coefficients(model, start, jnp.zeros_like(start), jnp.array([3]))[0][2, :, 0, :, 0]
        values, slopes = (np.asarray(part)[:, 0] for part in polynomials(jnp.array([0.5]), 4))

        def residual(counts):
            action = act(features, scalars, model.location, model.scale, tuple(jnp.asarray(counts, jnp.float32).T), parameters)
            return np.asarray(action.generator).T @ (values @ last) + np.asarray(action.features).T @ (slopes / 0.1 @ last)

        return [np.sqrt(np.mean(residual(part) ** 2)) for part in (states.reshape(-1, 2), strange)]

    known, unknown = left_over()
    monkeypatch.setattr(value_model, "_STRANGE", 0.0)
    known_before, unknown_before = left_over()
    assert unknown < 0.75 * unknown_before
    assert known < 1.05 * known_before


def test_states_that_no_path_can_reach_are_left_out():
    """Y copies X and never passes it; recombined, it does, and its law is negative there. All rates are linear: V is exact."""
    network = Network.from_text("0 -> X @ k; 0 -> Y @ copy", propensities={"copy": lambda n, p: p["c"] * (n["X"] - n["Y"])})
    copied = models.immigration_death()._replace(network=network, parameters={"k": 10.0, "c": 1.0})
    random = np.random.default_rng(2)
    x = random.poisson(10, (3, 400))
    features, _, parameters, model = fitted(copied, degree=1, states=np.stack([x, random.binomial(x, 0.5)], axis=-1))
    start = model.species[:, 1:]
    _, first = coefficients(model, start, jnp.zeros_like(start), jnp.array([3]))
    gone = np.exp(-0.6)
    for x, y in ((10, 3), (20, 20)):
        exact = x + 10 * 0.6 - 10 * (1 - gone) + (y - x) * gone
        assert value_at(features, model, parameters, first[0, :, 0], [x, y]) == pytest.approx(exact, rel=1e-3)


def test_least_squares_leaves_out_what_is_not_there():
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(500, 3)).astype(np.float32)
    columns = np.concatenate([columns, columns[:, :1] + columns[:, 1:2], np.zeros((500, 1), np.float32)], axis=1)
    found = least_squares(jnp.asarray(columns))
    rotated = np.asarray(columns @ found.root)
    used = np.abs(rotated).max(0) > 0
    assert used.sum() == 3
    np.testing.assert_allclose(rotated[:, used].T @ rotated[:, used] / 500, np.eye(3), atol=1e-4)
    target = columns @ np.array([1.0, 2.0, 3.0, 0.0, 0.0], np.float32)
    np.testing.assert_allclose(rotated @ np.asarray(found(jnp.asarray(target)[:, None]))[:, 0], target, atol=1e-4)


def test_inverse_of_a_matrix_that_rounding_made_negative():
    """Its ridge grows until there are numbers; where none is needed, it is one millionth."""
    rng = np.random.default_rng(0)
    half = rng.normal(size=(40, 10)).astype(np.float32)
    well, singular = half.T @ half / 40, half @ half.T / 10 - 1e-4 * np.eye(40, dtype=np.float32)
    found = _inverse_root(jnp.asarray(well))
    np.testing.assert_allclose(found.T @ found, np.linalg.inv(well + 1e-6 * np.diag(np.diag(well))), rtol=2e-3, atol=1e-3)
    assert np.isnan(jnp.linalg.cholesky(jnp.asarray(singular + 1e-6 * np.diag(np.diag(singular))))).any()
    assert np.isfinite(_inverse_root(jnp.asarray(singular))).all()


@pytest.mark.parametrize("degree", [1, 2])
def test_averages_are_those_of_the_action(degree):
    model = models.sir()
    parameters = {name: jnp.float32(value) for name, value in model.parameters.items()}
    features, scalars = Features.of_network(model.network, degree=degree), scalars_of(parameters)
    counts = tuple(jnp.asarray(np.random.default_rng(2).integers(1, 30, (3, 50)), jnp.float32))
    at_states = (features, scalars, jnp.zeros(features.num_variables), jnp.full(features.num_variables, 10.0), counts, parameters)
    weights, basis, speed = (jax.random.normal(jax.random.key(seed), (size, 50)) for seed, size in ((2, 3), (3, 4), (4, 4)))
    action, found = act(*at_states), averages(*at_states, weights, basis, speed)
    drift = jnp.einsum("qn,hn,jn->qhj", weights, basis, action.generator) + jnp.einsum("qn,hn,jn->qhj", weights, speed, action.features)
    for part, wanted in zip(found, (drift, jnp.einsum("hn,pjn->phj", basis, action.sources), weights @ action.features.T), strict=True):
        np.testing.assert_allclose(part, wanted, rtol=1e-3, atol=1e-5 * float(jnp.abs(wanted).max()))


def test_generator_is_the_sum_over_reactions():
    model = models.schloegl()
    parameters = {name: jnp.asarray(value) for name, value in model.parameters.items()}
    features, scalars = replace(Features.of_network(model.network, degree=2), totals=()), scalars_of(parameters)  # without curves
    counts = (jnp.array([3.0, 40.0, 0.0]),)
    action = act(features, scalars, jnp.array([10.0]), jnp.array([5.0]), counts, parameters)
    for n, x in enumerate((3.0, 40.0, 0.0)):
        rates = np.asarray(model.network.rates((jnp.asarray(x),), parameters), float)
        z = lambda y: np.array([1, (y - 10) / 5, ((y - 10) / 5) ** 2])  # noqa: E731
        expected = sum(a * (z(x + change) - z(x)) for a, change in zip(rates, model.network.stoichiometry[:, 0], strict=True))
        np.testing.assert_allclose(action.generator[:, n], expected, rtol=1e-5, atol=1e-5)
    by_theta = sum(float(parameters[name]) * action.sources[p] for p, name in enumerate(sorted(parameters)))
    np.testing.assert_allclose(by_theta, action.generator, rtol=1e-5, atol=1e-4)  # rates are linear in the rate constants


def test_fit_can_be_compiled_and_mapped():
    states = jnp.asarray(np.random.default_rng(1).integers(0, 30, (3, 400, 1)), jnp.float32)
    model = models.immigration_death()
    parameters = {name: jnp.asarray([value, 2 * value]) for name, value in model.parameters.items()}
    features = Features.of_network(model.network, degree=1)
    scalars = scalars_of({name: 1.0 for name in parameters})
    steps = jax.vmap(lambda p: fit(features, scalars, states, jnp.asarray(WIDTHS, jnp.float32), p, with_sources=False).step)(parameters)
    assert steps.shape == (2, 3, 3 * 2, 2)
    assert np.all(np.isfinite(steps))


def test_matrices_are_factorised_one_after_the_other_under_vmap():
    """No factorisation in a vmapped program has a batch: two batches at once make XLA's CPU threads wait for each other."""
    model = models.immigration_death()
    parameters = {name: jnp.asarray(value) for name, value in model.parameters.items()}
    features, scalars = Features.of_network(model.network, degree=2), scalars_of(parameters)

    def of_one(states):
        return fit(features, scalars, states, jnp.asarray(WIDTHS, jnp.float32), parameters, with_sources=True).step

    text = jax.jit(jax.vmap(of_one)).lower(jnp.zeros((7, len(WIDTHS), 50, 1))).as_text()
    batches = re.findall(r'@lapack_\w+\(.*?num_batch_dims = "(\d+)"', text)
    assert len(batches) >= 3 and set(batches) == {"0"}
