"""Formulations decode numbers into networks: as many numbers as were promised, crisp, every reaction within reach, losses that stay finite."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssagrad import fitting, models, simulate
from ssagrad.estimators import polyak_smoothing, reinforce, rloo
from ssagrad.network import NetworkError
from ssagrad.structure import formulations as forms
from ssagrad.structure.candidates import enumerate_reactions, library_of
from ssagrad.structure.losses import capped_loss, crisp_losses

SIR = models.sir()
TRUTH = "S + I -> 2 I; I -> R"
TIMES = np.linspace(0, 1, 11)
LIBRARY = enumerate_reactions("SIR")
LOG_RATES = np.log10([0.02, 5.0])


def one_hot(indices, size):
    return np.eye(size)[np.asarray(indices)]


KNOWN = forms.library_of_reactions(library_of(TRUTH, "SIR"))
# θ of the true network in every formulation; species are S, I, R, and nothing comes before them
TRUE = {
    "known reactions": (KNOWN, 2, {"rates": LOG_RATES}),
    "library": (forms.library_of_reactions(LIBRARY), 90, {"rates": np.where(np.arange(90) == LIBRARY.positions(TRUTH)[0], LOG_RATES[0], -9.0)}),
    "choice": (forms.choice_from_library(LIBRARY, 2), 182, {"logits": one_hot(LIBRARY.positions(TRUTH), 90), "rates": LOG_RATES}),
    "coefficients": (
        forms.coefficients_and_rates("SIR", 2),
        14,
        {"coefficients": np.array([[[0.6, 1.4, -3.0], [0.4, 2.9, 0.0]], [[0, 1, 0], [0, 0, 1]]]), "rates": LOG_RATES},
    ),
    "constrained": (
        forms.constrained_coefficients("SIR", 2),
        34,
        {"molecules": one_hot([[2, 1, 2, 2], [0, 2, 3, 0]], 4), "rates": LOG_RATES},
    ),
    "conserved": (
        forms.constrained_coefficients("SIR", 2, conserves_molecules=True),
        30,
        {"molecules": one_hot([[2, 1], [0, 2]], 4), "products": one_hot([[1, 1], [0, 2]], 3), "rates": LOG_RATES},
    ),
}
TRUE["library"][2]["rates"][LIBRARY.positions(TRUTH)[1]] = LOG_RATES[1]


def random_models(formulation, number=4000):
    """The texts of all reactions of random members."""
    theta = formulation.draw(np.random.default_rng(1), number)
    rows = jax.vmap(formulation.table)(jax.tree.map(jnp.asarray, theta))
    sides = [np.asarray(rows[side], int).reshape(-1, 3) for side in ("reactants", "products")]
    return {(*left, *right) for left, right in zip(*(side.tolist() for side in sides), strict=True) if left != right}


@pytest.mark.parametrize("name", TRUE)
def test_each_formulation_holds_the_true_network(name):
    """Its number of parameters is the one that the paper's sizes give, and its θ decodes to the true reactions and rates."""
    formulation, num_parameters, theta = TRUE[name]
    assert formulation.num_parameters == num_parameters
    model = forms.decoded_model(formulation, theta, above=1e-4)
    assert model.has_structure_of(TRUTH) and model.has_structure_of(SIR.network)
    assert model.library.texts() == ["I -> R", "S + I -> 2 I"], "the fastest comes first"
    assert np.allclose(model.rates, [5.0, 0.02], rtol=1e-5)


@pytest.mark.parametrize("name", TRUE)
def test_the_decoded_network_has_the_true_law(name):
    """Whatever the formulation, a network with the true reactions follows the true mean (4 standard errors)."""
    formulation, _, theta = TRUE[name]
    crisp = crisp_losses(jax.random.key(1), formulation, theta, SIR.initial_counts, TIMES, distance=lambda x: x[:, -1, 2], num_paths=400, largest=1e9)
    expected = simulate(jax.random.key(2), *SIR[:3], TIMES, num_paths=400).counts[:, -1, 2]
    error = np.hypot(crisp.standard_error, expected.std() / 20)
    assert crisp.mean.shape == () and crisp.stopped == 0
    assert abs(crisp.mean - expected.mean()) < 4 * error < 5


@pytest.mark.parametrize("name", TRUE)
def test_first_guesses_have_their_shapes_and_their_range(name):
    formulation, *_, theta = TRUE[name]
    starts = formulation.draw(np.random.default_rng(0), 3)
    assert {leaf: values.shape for leaf, values in starts.items()} == {leaf: (3, *np.shape(values)) for leaf, values in theta.items()}
    low, high = (-4, -4) if name in ("library", "known reactions") else (-3, 0)
    assert starts["rates"].min() >= low and starts["rates"].max() <= high
    assert all(values.min() >= 0 for leaf, values in starts.items() if leaf != "rates")


def test_every_reaction_is_within_reach():
    """Two molecules a side reach all 90 reactions, conserved ones all 36, free coefficients all 3⁶ − 3³."""
    assert len(random_models(forms.constrained_coefficients("SIR", 2))) == 90
    assert len(random_models(forms.constrained_coefficients("SIR", 2, conserves_molecules=True))) == 36
    assert len(random_models(forms.choice_from_library(LIBRARY, 2))) == 90
    assert len(random_models(forms.coefficients_and_rates("SIR", 2), 20000)) == 3**6 - 3**3


def test_decoding_is_crisp():
    """A change of θ that changes no choice and no rounding changes nothing."""
    formulation, _, theta = TRUE["coefficients"]
    moved = theta | {"coefficients": theta["coefficients"] + 0.05}
    assert all(np.array_equal(a, b) for a, b in zip(formulation.table(theta).values(), formulation.table(moved).values(), strict=True))


def test_rates_have_a_scale_and_a_largest_value():
    order = jnp.array([0.0, 1.0, 2.0])
    theta = jnp.array([1.0, 1.0, 1.0])
    assert np.allclose(forms.logarithmic(theta, order), 10)
    assert np.allclose(forms.linear(jnp.array([-1.0, 0.0, 2.0]), order), [0, 0, 2])
    assert np.allclose(forms.per_molecule(2000.0)(theta, order), [20000, 10, 0.005])
    for scale in (forms.logarithmic, forms.linear, forms.per_molecule(2000.0)):
        extreme = forms.library_of_reactions(library_of(TRUTH, "SIR"), scale=scale).table({"rates": jnp.array([1e30, -1e30])})
        assert np.array_equal(extreme["rates"], [forms.LARGEST_RATE, 0])


def test_equal_reactions_add_up_and_idle_ones_are_left_out():
    formulation = forms.constrained_coefficients("SIR", 4)
    theta = {"molecules": one_hot([[2, 0, 3, 0], [0, 2, 0, 3], [1, 2, 2, 1], [1, 0, 0, 0]], 4), "rates": np.log10([2.0, 3.0, 900.0, 1e-5])}
    model = forms.decoded_model(formulation, theta)
    assert model.library.texts() == ["I -> R", "S -> 0"] and np.allclose(model.rates, [5.0, 1e-5])
    assert forms.decoded_model(formulation, theta, above=1e-4).library.texts() == ["I -> R"]
    assert forms.decoded_model(formulation, theta, above=1e4).library.size == 0
    assert not model.has_structure_of(TRUTH)


def test_the_four_problems_are_one_family():
    """By name, in the order from the library to single molecules, all on one scale if so wanted."""
    family = forms.four_problems(LIBRARY, 2, scale=forms.per_molecule(2000.0), start=(1.0, 1.0))
    assert {name: formulation.num_parameters for name, formulation in family.items()} == {
        "library of reactions": 90,
        "choice from the library": 182,
        "coefficients and rates": 14,
        "constrained coefficients": 34,
    }
    rates = family["library of reactions"].table({"rates": jnp.ones(90)})["rates"]
    assert np.allclose(np.unique(rates), [0.005, 10, forms.LARGEST_RATE])
    assert forms.choice_from_library(LIBRARY, 3).num_parameters == 273


def test_units_scale_every_start_by_its_own():
    theta = {"rates": np.ones((2, 3)), "logits": np.ones((2, 4, 3, 90))}
    scaled = forms.in_units(theta, [2.0, 5.0])
    assert all(np.array_equal(leaf[0], 2 * theta[name][0]) and np.array_equal(leaf[1], 5 * theta[name][1]) for name, leaf in scaled.items())


def test_num_reactions_must_be_meant():
    for number in (0, 1.5):
        with pytest.raises(NetworkError, match="whole number ≥ 1"):
            forms.coefficients_and_rates("SIR", number)


@pytest.mark.parametrize("name, estimator", [("library", polyak_smoothing), ("choice", reinforce), ("coefficients", rloo), ("constrained", polyak_smoothing)])
def test_each_formulation_descends(name, estimator):
    """One call of `descend` for two starts: finite gradients, events and stopped paths on record."""
    few = library_of(f"{TRUTH}; S -> R", "SIR")
    small = {"library": forms.library_of_reactions(few), "choice": forms.choice_from_library(few, 2)}
    formulation = small.get(name, TRUE[name][0])
    settings = {"distance": lambda x: x.mean((1, 2)) / 25, "num_paths": 4, "sigma": 0.5, "most_events": 200}
    loss = capped_loss(estimator, formulation, {"S": 20, "I": 5}, TIMES, **settings)
    starts = formulation.draw(np.random.default_rng(2), 2)
    descents = fitting.descend(jax.random.key(3), loss, starts, optimizer=optax.adam(0.1), num_steps=2, steps_per_chunk=1)
    assert np.isfinite(descents.losses).all() and set(descents.records) == {"events", "stopped"}
    assert all(leaf.shape[:2] == (2, 3) for leaf in descents.parameters.values())


def test_the_smoothed_loss_has_the_value_of_the_crisp_one():
    """PGO's value is that of the reference paths, which are not perturbed."""
    formulation, _, theta = TRUE["constrained"]
    settings = {"initial_counts": SIR.initial_counts, "times": TIMES, "distance": lambda x: x[:, -1, 2] / 2000}
    value, records = capped_loss(polyak_smoothing, formulation, num_paths=200, sigma=0.1, **settings)(jax.tree.map(jnp.float32, theta), jax.random.key(4))
    crisp = crisp_losses(jax.random.key(5), formulation, theta, num_paths=200, **settings)
    assert abs(float(value) - crisp.mean) < 4 * 2**0.5 * crisp.standard_error < 0.01
    assert records["stopped"] == 0 and 3000 < records["events"] / 400 < 5000


def test_smoothing_in_units_is_smoothing_of_that_width():
    """σ = 1 of θ / 0.1 is σ = 0.1 of θ: the same paths, and 0.1 times the gradient."""
    formulation, _, theta = TRUE["known reactions"]
    settings = {"initial_counts": SIR.initial_counts, "times": TIMES, "distance": lambda x: x[:, -1, 2] / 2000, "num_paths": 16}
    theta = jnp.asarray(theta["rates"], jnp.float32)
    plain = jax.grad(lambda rates: capped_loss(polyak_smoothing, formulation, sigma=0.1, **settings)({"rates": rates}, jax.random.key(10))[0])(theta)
    loss = capped_loss(polyak_smoothing, formulation, sigma=1.0, **settings)
    in_units = jax.grad(lambda z: loss({"rates": z}, jax.random.key(10), 0.1)[0])(theta / 0.1)
    assert np.allclose(in_units, 0.1 * plain, rtol=0.05, atol=1e-4 * np.abs(plain).max())


def test_an_explosion_has_a_finite_loss_and_is_counted():
    """0 -> S at the largest rate: every path is stopped, and none counts for more than the limit."""
    formulation = forms.library_of_reactions(library_of("0 -> S; S -> 2 S", "SIR"))
    theta = {"rates": jnp.array([[3.0, 3.0], [-9.0, -9.0]])}
    settings = {"initial_counts": {"S": 10}, "times": TIMES, "distance": lambda x: x.mean((1, 2)), "num_paths": 8, "most_events": 400}
    crisp = crisp_losses(jax.random.key(6), formulation, theta, **settings)
    assert crisp.stopped.tolist() == [1, 0] and np.allclose(crisp.mean, [5.0, 10 / 3]) and crisp.standard_error[0] == 0
    value, records = capped_loss(polyak_smoothing, formulation, sigma=0.01, **settings)({"rates": theta["rates"][0]}, jax.random.key(7))
    assert value == 5.0 and records["stopped"] == 1
    hopeless = crisp_losses(jax.random.key(8), formulation, theta, **(settings | {"distance": lambda x: x.mean((1, 2)) * jnp.nan}))
    assert (hopeless.mean == 5.0).all()


def test_crisp_losses_take_whole_histories():
    formulation = TRUE["coefficients"][0]
    history = jax.tree.map(lambda leaf: leaf.reshape(2, 3, *leaf.shape[1:]), formulation.draw(np.random.default_rng(3), 6))
    settings = {"initial_counts": {"S": 10, "I": 3}, "times": TIMES, "distance": lambda x: x.mean((1, 2))}
    crisp = crisp_losses(jax.random.key(9), formulation, history, num_paths=5, **settings)
    assert all(field.shape == (2, 3) for field in crisp)
    with pytest.raises(ValueError, match="num_paths ≥ 2"):
        crisp_losses(jax.random.key(9), formulation, history, num_paths=1, **settings)
