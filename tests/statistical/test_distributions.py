"""Whole laws, not only moments: counts by chi-square, waiting times by Kolmogorov–Smirnov, the reaction that ends a state."""

import jax
import numpy as np
import pytest
from support import LIMIT, assert_continuous, assert_distribution, death_rate_low, z_scores

from ssagrad import Network, exact, models, simulate


def final_counts(seed, model, species, num_paths):
    paths = simulate(jax.random.key(seed), *model[:3], model.times[-1:], num_paths=num_paths)
    return np.asarray(paths.samples(species)[:, 0])


LINEAR = {
    "immigration and death": {"birth": 0.0, "death": 1.0, "immigration": 10.0, "initial": 5},
    "pure birth": {"birth": 1.0, "death": 0.0, "immigration": 0.0, "initial": 3},
    "pure death": {"birth": 0.0, "death": 0.5, "immigration": 0.0, "initial": 40},
    "birth and death": {"birth": 0.5, "death": 0.6, "immigration": 0.0, "initial": 10},
    "all three": {"birth": 0.4, "death": 0.6, "immigration": 3.0, "initial": 0},
}


@pytest.mark.parametrize("case", LINEAR)
def test_linear_birth_and_death_follows_its_closed_form(case):
    """Counts of a linear birth–death process with immigration follow the law in closed form, every probability of it."""
    constants = dict(LINEAR[case])
    initial = constants.pop("initial")
    network = Network.from_text("X -> 2 X @ birth; X -> 0 @ death; 0 -> X @ immigration")
    paths = simulate(jax.random.key(301), network, constants, {"X": initial}, [1.5], num_paths=50_000)
    law = exact.birth_death([1.5], **constants, initial=initial)
    assert_distribution(paths.counts[:, 0, 0], law.probabilities[0])


def test_isomers_follow_two_binomials():
    """A <-> B from 20 A and 10 B: the count of A is a sum of two binomials."""
    model = models.isomerisation()
    paths = simulate(jax.random.key(302), *model[:2], {"A": 20, "B": 10}, [0.7], num_paths=50_000)
    law = exact.isomerisation([0.7], **model.parameters, initial=20, initial_other=10)
    assert_distribution(paths.counts[:, 0, 0], law.probabilities[0])


@pytest.mark.parametrize("species", ["P", "P2"])
def test_dimers_follow_the_master_equation(species):
    """Reversible dimerisation at t = 50 follows the master equation."""
    model = models.dimerisation()
    law = exact.MasterEquation.build(*model[:1], model.initial_counts).solve(model.parameters, model.times[-1:])
    assert_distribution(final_counts(303, model, species, 50_000), law.marginal(species)[0])


def test_both_sides_of_the_schloegl_system():
    """The bimodal distribution of Schlögl's system, in the middle of its fall to either side, follows the master equation."""
    model = models.schloegl()._replace(times=np.array([2.0]))
    law = exact.MasterEquation.build(*model[:1], model.initial_counts, bounds={"X": 900}).solve(model.parameters, model.times)
    assert_distribution(final_counts(304, model, "X", 5_000), law.marginal("X")[0])


def test_bound_complexes_follow_the_stationary_law():
    """Association, long after its start, follows π(n) ∝ Kⁿ/(n! (N − n)! (N − n)!)."""
    model = models.association()._replace(times=np.array([10.0]))
    n = np.arange(11)
    factorial = np.array([float(np.prod(np.arange(1, k + 1))) for k in n])
    weights = 1 / (factorial * factorial[::-1] ** 2)
    assert_distribution(final_counts(305, model, "C", 50_000), weights / weights.sum())


def test_messenger_counts_of_a_switching_gene_follow_the_master_equation():
    """Bursts of transcription give the heavy-tailed law of the telegraph model."""
    model = models.telegraph()
    law = exact.MasterEquation.build(*model[:1], model.initial_counts, bounds={"mRNA": 120}).solve(model.parameters, model.times[-1:])
    assert_distribution(final_counts(306, model, "mRNA", 50_000), law.marginal("mRNA")[0])


def test_a_low_death_rate_is_rejected_by_chi_square():
    """The negative control of this file: a death rate 10 % low does not pass the chi-square test."""
    network = Network.from_text("X -> 0 @ death; 0 -> X @ immigration")
    constants = {"death": 1.0, "immigration": 10.0}
    paths = death_rate_low(jax.random.key(307), network, constants, {"X": 5}, np.array([1.5]), num_paths=50_000)
    with pytest.raises(AssertionError, match="chi-square"):
        assert_distribution(paths.counts[:, 0, 0], exact.birth_death([1.5], **constants, initial=5).probabilities[0])


@pytest.mark.parametrize("total", [3.0, 4e5])
def test_waiting_times_are_exponential(total):
    """The time until the only event that can happen is exponential with the total propensity, slow or fast.

    The waiting time is the time integral of a species that has one molecule until the event.
    """
    network = Network.from_text("A -> B @ first; A -> C @ second")
    parameters = {"first": 0.25 * total, "second": 0.75 * total}
    paths = simulate(jax.random.key(308), network, parameters, {"A": 1}, [40 / total], num_paths=50_000, record=("time_integrals",))
    waiting_times = np.asarray(paths.time_integrals[:, 0, 0], float)
    assert_continuous(waiting_times, lambda t: -np.expm1(-total * t))
    with pytest.raises(AssertionError, match="Kolmogorov"):
        assert_continuous(waiting_times, lambda t: -np.expm1(-0.95 * total * t))


def test_the_reaction_does_not_depend_on_the_waiting_time():
    """Which reaction fires first has probability a_r/a₀ before and after the median waiting time alike."""
    network = Network.from_text("A -> B @ first; A -> C @ second; A -> D @ third")
    parameters = {"first": 0.2, "second": 0.5, "third": 1.3}
    median = np.log(2) / 2.0
    paths = simulate(jax.random.key(309), network, parameters, {"A": 1}, [median, 30.0], num_paths=50_000)
    ended = np.asarray(paths.counts[:, :, 1:])
    early = ended[ended[:, 0].sum(-1) == 1, 1]
    late = ended[ended[:, 0].sum(-1) == 0, 1]
    shares = exact.first_event([30.0], network, parameters, {"A": 1})[0]
    for group in (early, late):
        assert len(group) > 24_000
        assert np.all(np.abs(z_scores(group, shares)) < LIMIT)


def test_many_observations_do_not_disturb_a_path():
    """A thousand observations on the way leave the law at the end as it is (waiting times have no memory)."""
    model = models.immigration_death()
    times = np.linspace(0, 20, 1001)
    paths = simulate(jax.random.key(311), *model[:3], times, num_paths=20_000)
    assert_distribution(paths.counts[:, -1, 0], exact.birth_death([20.0], **model.parameters).probabilities[0])


def test_joint_law_at_two_times():
    """Counts at two times have the right joint law: the increment of a Poisson process over the second interval, given the first."""
    network = Network.from_text("0 -> X @ k")
    paths = simulate(jax.random.key(312), network, {"k": 4.0}, {"X": 0}, [1.0, 2.5], num_paths=50_000)
    first, second = np.asarray(paths.counts[:, 0, 0]), np.asarray(paths.counts[:, 1, 0])
    increments = exact.birth_death([1.5], immigration=4.0).probabilities[0]
    assert_distribution(second - first, increments)
    assert_distribution((second - first)[first <= 3], increments)
    assert_distribution((second - first)[first > 5], increments)
