"""Features: which a network suggests, and their values."""

import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import Network, models
from ssagrad.features import Features, parts_of


def test_conserved_species_are_left_out():
    features = Features.of_network(models.association().network)
    assert len(features.species) == 1  # A, B and C differ by constants
    assert features.degree == 4
    assert features.size == 5


def test_laws_that_are_not_mass_action_are_variables():
    network = models.hill_repressilator().network
    features = Features.of_network(network)
    assert len(features.laws) == sum(reaction.propensity is not None for reaction in network.reactions) == 3
    assert features.size <= 128


def test_degree_falls_with_the_number_of_variables():
    assert Features.of_network(models.promoter_repressilator().network).degree == 2
    assert Features.of_network(models.promoter_repressilator().network, max_features=20).degree == 1
    assert Features.of_network(models.sir().network, degree=1).size == 3


def test_products_are_all_monomials():
    features = Features.of_network(models.lotka_volterra().network, degree=3)
    x, y = np.array([0.5, -2.0]), np.array([3.0, 0.25])
    found = np.asarray(features.products(jnp.stack([jnp.asarray(x), jnp.asarray(y)])))
    monomials = [np.ones(2), x, y, x * x, x * y, y * y, x**3, x * x * y, x * y * y, y**3]
    np.testing.assert_allclose(found, monomials, rtol=1e-6)
    assert len(found) == features.size


def test_variables_are_counts_and_rates():
    model = models.hill_repressilator()
    features = Features.of_network(model.network)
    counts = tuple(jnp.array([float(s), 2.0 * s]) for s in range(1, len(model.network.species) + 1))
    found = np.asarray(features.variables(counts, model.parameters))
    rates = model.network.rates(tuple(c[1] for c in counts), model.parameters)
    expected = [counts[s][1] for s in features.species] + [rates[r] for r in features.laws]
    np.testing.assert_allclose(found[:, 1], expected, rtol=1e-6)


def test_degree_zero_is_refused():
    with pytest.raises(ValueError, match="degree"):
        Features.of_network(models.sir().network, degree=0)


def test_curves_count_a_species_with_what_it_is_bound_in():
    network = Network.from_text("P + G -> GP @ on; GP + P -> GPP @ on; GPP -> GP + P @ off; GP -> G + P @ off; G -> G + P @ make; P -> 0 @ decay")
    features = Features.of_network(network, degree=2)
    assert features.totals == (tuple({"P": 1, "G": 0, "GP": 1, "GPP": 2}[name] for name in network.species),)
    counts = tuple(jnp.array([float({"P": 3, "G": 0, "GP": 0, "GPP": 1}[name])]) for name in network.species)
    assert features.variables(counts, {})[-1, 0] == pytest.approx(np.exp(-5 / 2))


def test_curves_are_of_species_that_meet_others_alone():
    def num_totals(text, degree=2):
        return len(Features.of_network(Network.from_text(text), degree=degree).totals)

    assert num_totals("S + I -> 2 I @ infection; I -> R @ recovery") == 2
    assert num_totals("S + I -> 2 I @ infection; I -> R @ recovery", degree=4) == 0
    assert num_totals("0 -> A @ a; A -> B @ b; B -> 0 @ c") == 0
    assert num_totals("A + B <-> C @ on, off") == 0  # these totals never change


def test_parts_are_what_conservation_laws_tie_together():
    """Both forms of an enzyme and, over the complex, its substrate and product; each gene's states, but not its protein."""
    enzyme = Network.from_text("E + S <-> C @ k_on, k_off; C -> E + P @ k_cat; 0 -> X @ k; X -> 0 @ d")
    assert enzyme.species == ("E", "S", "C", "P", "X")
    assert parts_of(enzyme) == (0, 0, 0, 0, 4)
    promoters = models.promoter_repressilator().network
    by_name = dict(zip(promoters.species, parts_of(promoters), strict=True))
    for gene in (1, 2, 3):
        assert len({by_name[f"G{gene}_{bound}"] for bound in (0, 1, 2)}) == 1
    assert len({by_name[name] for name in ("P1", "P2", "P3", "G1_0", "G2_0", "G3_0")}) == 6
