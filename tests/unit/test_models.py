"""Named networks: each can be simulated as it stands and is what its docstring says."""

import inspect

import jax
import numpy as np
import pytest

from ssagrad import exact, models, simulate

ALL = [value for name, value in vars(models).items() if inspect.isfunction(value) and value.__module__ == models.__name__ and name[0] != "_"]


@pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)
def test_every_model_can_be_simulated(make):
    """Network, parameters, initial counts and times fit together; counts stay whole and not negative; the source is named."""
    model = make()
    model.network.check_parameters(model.parameters)
    assert model.network.counts_from(model.initial_counts).shape == (len(model.network.species),)
    paths = simulate(jax.random.key(61), *model[:3], model.times[1] * np.arange(3), num_paths=16)
    counts = np.asarray(paths.counts)
    assert np.all((counts >= 0) & (counts == np.round(counts)))
    assert model.times[0] == 0
    assert len(model.times) > 50
    assert model.source
    assert "ource" in make.__doc__ or "choice" in make.__doc__


@pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)
def test_models_made_twice_are_equal(make):
    """Two calls give equal networks, which share their compiled simulation, and parameters that can be changed alone."""
    assert make().network == make().network
    make().parameters.clear()
    assert make().parameters


def test_dimerisation_may_be_irreversible():
    """Without dissociation there is one reaction and one rate constant."""
    model = models.dimerisation(reversible=False)
    assert str(model.network) == "2 P -> P2 @ k_on"
    assert model.parameters == {"k_on": 0.001}


def test_schloegl_propensities():
    """With the buffered species in the rate constants: 0.03 x(x−1)/2, 10⁻⁴ x(x−1)(x−2)/6, 200, 3.5 x; two stable states."""
    model = models.schloegl()
    values = model.network.propensities(np.array([250.0], np.float32), model.parameters)
    assert np.allclose(values, [0.015 * 250 * 249, 1e-4 / 6 * 250 * 249 * 248, 200, 875], rtol=1e-6, atol=0)
    master = exact.MasterEquation.build(model.network, model.initial_counts, bounds={"X": 900})
    law = master.solve(model.parameters, [10.0]).marginal("X")[0]
    peaks = np.flatnonzero((law[1:-1] > law[:-2]) & (law[1:-1] > law[2:]) & (law[1:-1] > 1e-4)) + 1
    assert len(peaks) == 2
    assert 75 < peaks[0] < 95
    assert 550 < peaks[1] < 575


def test_telegraph_is_stationary_where_its_docstring_says():
    """Mean 10 and variance 35 of the messenger after a long time."""
    model = models.telegraph()
    moments = exact.linear_moments(model.network, model.parameters, model.initial_counts, [40.0])
    assert np.allclose(moments.mean[0, 2], 10, rtol=1e-9, atol=0)
    assert np.allclose(moments.covariance[0, 2, 2], 35, rtol=1e-9, atol=0)


def test_hill_repressilator_is_a_ring():
    """Each protein represses the next: 3 is upstream of 1."""
    model = models.hill_repressilator()
    assert model.network.species == ("P1", "P2", "P3")
    values = model.network.propensities(np.array([0.0, 10.0, 20.0], np.float32), model.parameters)
    assert np.allclose(values[::2], [50 / 9, 50, 25], rtol=1e-6, atol=0)
    assert values[1::2].tolist() == [0.0, 10.0, 20.0]


@pytest.mark.parametrize("sites", [1, 2, 3])
@pytest.mark.parametrize("bound_decay", [True, False])
def test_promoter_repressilator_has_the_right_reactions(sites, bound_decay):
    """Species, reactions, one promoter state per gene for ever, and the factors of unbinding and of bound decay."""
    model = models.promoter_repressilator(sites=sites, bound_decay=bound_decay)
    assert len(model.network.species) == 3 * (sites + 2)
    assert len(model.network.reactions) == 3 * (2 + sites * (3 if bound_decay else 2))
    paths = simulate(jax.random.key(62), *model[:3], [2.0], num_paths=32)
    for gene in (1, 2, 3):
        states = [f"G{gene}_{bound}" for bound in range(sites + 1)]
        assert np.all(sum(np.asarray(paths.samples(state)) for state in states) == 1)
    text = str(model.network)
    assert f"G1_{sites} -> G1_{sites - 1} + P3 @ " + (f"{sites} * k_off" if sites > 1 else "k_off") in text
    assert ((f"G1_{sites} -> G1_{sites - 1} @ " + (f"{sites} * k_d" if sites > 1 else "k_d")) in text) == bound_decay


def test_a_promoter_needs_a_site():
    """At least one."""
    with pytest.raises(ValueError, match="expected at least 1 binding site, received sites=0"):
        models.promoter_repressilator(sites=0)
