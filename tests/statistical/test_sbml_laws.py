"""Documents simulate with the exact law that their constructions stand for, and what a careless reader would make of them is told apart."""

import jax
import numpy as np
import pytest
import scipy.linalg
from support import assert_distribution, assert_mean, assert_moments, z_limit, z_scores
from support_sbml import birth_death, compartment, document, event, function, parameter, reaction, rule, species

from ssagrad import exact, models, sbml, simulate
from ssagrad.estimators import dynkin_controls, score_function

PATHS = 10_000
TIMES = np.linspace(0.0, 20.0, 11)
IN, OUT = {"immigration": 1.0, "death": 0.1}, {"birth": 0.1, "death": 0.11, "initial": 100}


def paths_of(text, seed, times=TIMES, num_paths=PATHS, **options):
    """An ensemble of the document."""
    return sbml.read(text).simulate(jax.random.key(seed), times, num_paths=num_paths, **options)


def in_and_out(left="", right="", immigration="1", death="0.1 * X", *elements, **options):
    """Immigration and death of X, by laws that say the same in other words."""
    chosen = (species("X", 0, **options), *elements, reaction("In", left, "X", immigration), reaction("Out", "X", right, death))
    return document(*chosen)


# Documents with one law: immigration 1 and death 0.1, from 0. The rates 1 and 0.1 are what is left of volumes, rules and functions.
SAME_LAW = {
    "concentrations in a volume of 2": in_and_out("", "", "cell * k / 2", "cell * m * X", compartment("cell", 2), parameter("k", 1), parameter("m", 0.1), counts=False),
    "concentrations, volume forgotten in the law": in_and_out("", "", "1", "0.2 * X", compartment("cell", 2), counts=False),
    "boundary species": in_and_out("Source", "Sink", "0.2 * Source", "0.1 * X", species("Source", 5, boundary=True), species("Sink", 0, boundary=True)),
    "constant species at 0": in_and_out("Source", "", "1", "0.1 * X", species("Source", 0, boundary=True, constant=True)),
    "a rule": in_and_out("", "", "w / 2", "0.05 * Y", parameter("w", constant=False), rule("w", "1 + 1"), species("Y"), rule("Y", "2 * X")),
    "a function": in_and_out("", "", "f(4, 0.25)", "f(X, m)", function("f", ("a", "b"), "a * b"), parameter("m", 0.1)),
    "a piecewise law": in_and_out("", "", "piecewise(1, X >= 0, 5)", "X * piecewise(0.1, X < 1000, 7)"),
    "an event long past": in_and_out("", "", "k", "0.1 * X", parameter("k", 1, constant=False), event("e", "time > 100", {"k": "5"})),
    "an event that never happens": in_and_out("", "", "1", "0.1 * X", event("e", "X > 500", {"X": "0"})),
    "stops without consequence": in_and_out("", "", "1", "0.1 * X", *[event(f"e{i}", f"time >= {2.5 * i}", {"X": "X"}) for i in range(1, 8)]),
}


@pytest.mark.parametrize("name", SAME_LAW)
def test_many_ways_to_write_immigration_and_death(name):
    law = exact.birth_death(TIMES, **IN)
    paths = paths_of(SAME_LAW[name], 1)
    assert_moments(paths.replace(counts=paths.counts[..., :1]), law.mean[:, None], law.variance[:, None], largest_standard_error=(0.01, 0.03))
    assert_distribution(np.asarray(paths.samples("X"))[:, -1], law.probabilities[-1])


# How careless readers change the documents above: (document, what it is mistaken for).
MISTAKES = {
    "amounts in place of concentrations": (SAME_LAW["concentrations, volume forgotten in the law"], in_and_out("", "", "1", "0.2 * X")),
    "a source that is used up": (SAME_LAW["boundary species"], in_and_out("Source", "", "0.2 * Source", "0.1 * X", species("Source", 5))),
    "a rule that is not followed": (SAME_LAW["a rule"], in_and_out("", "", "w / 2", "0.05 * Y", parameter("w", 2), species("Y", 0), parameter("z", 0))),
    "an event that is left out": (
        in_and_out("", "", "1", "0.1 * X", event("e", "time >= 10", {"X": "20"})),
        in_and_out("", "", "1", "0.1 * X"),
    ),
    "a batch of one": (document(species("X", 0), reaction("In", "", "5 X", "0.2"), reaction("Out", "X", "", "0.1 * X")), in_and_out("", "", "0.2", "0.1 * X")),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_negative_controls_are_rejected(name):
    """The same claim about the mistaken document fails by far: the tests above have the power to see it."""
    right, wrong = (np.asarray(paths_of(text, 2, num_paths=2000).samples("X"), float) for text in MISTAKES[name])
    assert np.abs(z_scores(wrong, right.mean(0))).max() > 3 * z_limit(len(TIMES))


def test_birth_and_death_and_an_observable_of_a_rule():
    """Y = 2 X has twice the mean and four times the variance."""
    text = birth_death().replace("<listOfReactions>", f"<listOfRules>{rule('Y', '2 * X')}</listOfRules><listOfReactions>", 1)
    model = sbml.read(text.replace("</listOfParameters>", '<parameter id="Y" constant="false"/></listOfParameters>'))
    law = exact.birth_death(TIMES, **OUT)
    paths = model.simulate(jax.random.key(3), TIMES, num_paths=PATHS)
    assert_moments(paths, law.mean[:, None], law.variance[:, None], largest_standard_error=(0.01, 0.03))
    assert_mean(paths.samples(model.observable("Y")), 2 * law.mean, exact_variance=4 * law.variance, largest_standard_error=2)


def test_batches():
    """Five molecules at a time: mean and variance of a compound Poisson input, a (1 − e^{−mt})/m · b and so on."""
    rate, death, batch = 0.2, 0.1, 5
    text = document(species("X", 0), reaction("In", "", f"{batch} X", str(rate)), reaction("Out", "X", "", f"{death} * X"))
    gone = np.exp(-death * TIMES)
    mean = rate * batch * (1 - gone) / death
    variance = mean + rate * batch * (batch - 1) * (1 - gone**2) / (2 * death)
    assert_moments(paths_of(text, 4), mean[:, None], variance[:, None], largest_standard_error=(0.02, 0.04))


DIMERS = (species("P", 100), species("P2", 0), parameter("k1", 0.001), parameter("k2", 0.01))


@pytest.mark.parametrize("law", ["k1 * P * (P - 1) / 2", "piecewise(k1, true, 0) * (P^2 - P) / 2"])
def test_dimerisation_against_the_master_equation(law):
    """Recognised as mass action, or left as a function: the same law."""
    model = sbml.read(document(*DIMERS, reaction("On", "2 P", "P2", law), reaction("Off", "P2", "2 P", "k2 * P2")))
    known = models.dimerisation()
    master = exact.MasterEquation.build(known.network, known.initial_counts).solve(known.parameters, TIMES)
    mean, square = (np.stack([np.asarray(master.mean(f), float) for f in fs], axis=-1) for fs in (("P", "P2"), (lambda x: x["P"] ** 2, lambda x: x["P2"] ** 2)))
    paths = model.simulate(jax.random.key(5), TIMES, num_paths=PATHS)
    assert_moments(paths, mean, np.maximum(square - mean**2, 0), largest_standard_error=(0.01, 0.03))


def test_an_event_at_a_time_starts_the_law_anew():
    """Reset to 20 at t = 10: from there the closed form, shifted; at t = 10 itself exactly 20."""
    paths = paths_of(MISTAKES["an event that is left out"][0], 6)
    before, after = exact.birth_death(TIMES[TIMES < 10], **IN), exact.birth_death(TIMES[TIMES >= 10] - 10, **IN, initial=20)
    mean, variance = (np.concatenate([getattr(law, name) for law in (before, after)])[:, None] for name in ("mean", "variance"))
    assert_moments(paths, mean, variance, largest_standard_error=(0.01, 0.03))
    assert_distribution(np.asarray(paths.samples("X"))[:, -1], after.probabilities[-1])


def test_an_event_that_changes_a_parameter_at_a_time():
    """Immigration 1 until t = 7.3, then 3: the mean solves its equation piece by piece; Poisson throughout."""
    text = in_and_out("", "", "k", "0.1 * X", parameter("k", 1, constant=False), event("e", "time > 7.3", {"k": "3 * k"}))
    at = exact.birth_death([7.3], **IN).mean[0]
    late = np.maximum(TIMES - 7.3, 0)
    mean = np.where(TIMES <= 7.3, exact.birth_death(TIMES, **IN).mean, at * np.exp(-0.1 * late) + 30 * (1 - np.exp(-0.1 * late)))
    paths = paths_of(text, 7)
    assert_moments(paths.replace(counts=paths.counts[..., :1]), mean[:, None], mean[:, None], largest_standard_error=(0.01, 0.03))
    assert np.asarray(paths.samples("k"))[0].tolist() == [1.0] * 4 + [3.0] * 7


def resetting_chain(most, immigration, death, times):
    """Law [T, most] of immigration and death from 0 that is reset to 0 on reaching `most`."""
    generator = np.zeros((most, most))
    for x in range(most):
        generator[x, (x + 1) % most] += immigration
        generator[x, max(x - 1, 0)] += death * x
        generator[x, x] -= immigration + death * x
    return np.stack([scipy.linalg.expm(generator * t)[0] for t in times])


@pytest.mark.parametrize("precision", ["counts alone", "through a parameter", "until a time"])
def test_an_event_that_counts_trigger(precision):
    """Reset at 8 molecules, at once: the chain on 0 … 7 with one more arrow."""
    times = np.array([1.0, 4.0, 12.0])
    more = {
        "counts alone": [event("e", "X >= 8", {"X": "0"})],
        "through a parameter": [parameter("n", 0, constant=False), event("e", "X >= 8", {"n": "n + 1"}), event("f", "n > 0", {"X": "0", "n": "0"})],
        "until a time": [event("e", "X >= 8 && time < 30", {"X": "0"})],
    }[precision]
    paths = paths_of(in_and_out("", "", "1.5", "0.1 * X", *more), 8, times)
    law = resetting_chain(8, 1.5, 0.1, times)
    for k in range(len(times)):
        assert_distribution(np.asarray(paths.samples("X"))[:, k], law[k])


def test_negative_control_of_a_trigger_that_is_tested_one_reaction_late():
    """A reset at 9 in place of 8, as by a reader that looks at triggers before the reaction, is rejected."""
    times = np.array([12.0])
    law = resetting_chain(8, 1.5, 0.1, times)
    paths = paths_of(in_and_out("", "", "1.5", "0.1 * X", event("e", "X >= 9", {"X": "0"})), 9, times)
    with pytest.raises(AssertionError):
        assert_distribution(np.asarray(paths.samples("X"))[:, 0], law[0])


@pytest.mark.parametrize("estimator", [score_function, dynkin_controls])
def test_estimators_reach_local_parameters_and_volumes(estimator):
    """d⟨ln(1 + X)⟩/dθ for immigration k and death m X/V, with k and m local: against the closed form, in k, m and V."""
    elements = [species("X", 10, counts=False), compartment("cell", 2)]
    reactions = [reaction("In", "", "X", "k", local={"k": 1.5}), reaction("Out", "X", "", "m * X", local={"m": 0.4})]
    model, time = sbml.read(document(*elements, *reactions)), 3.0

    def mean(k, m, volume):
        probabilities = exact.birth_death([time], immigration=k, death=m / volume, initial=10).probabilities[0]
        return probabilities @ np.log1p(np.arange(len(probabilities)))

    def terms(parameters):
        paths = estimator(jax.random.key(10), model.network, parameters, model.initial_counts, [time], num_paths=4096)
        return paths.terms(paths.samples(lambda x: jax.numpy.log1p(x["X"])))[:, -1]

    slopes, at, h = jax.jacfwd(terms)(model.parameters), np.array([1.5, 0.4, 2.0]), 1e-4
    truth = [(mean(*(at + h * unit)) - mean(*(at - h * unit))) / (2 * h) for unit in np.eye(3)]
    samples = np.stack([np.asarray(slopes[name], float) for name in ("In_k", "Out_m", "cell")], axis=1)
    assert_mean(samples, truth, largest_standard_error=0.05)


def test_the_network_is_an_ordinary_network():
    """`ssagrad.simulate` of the parts gives the law, too, with an event that counts trigger inside."""
    model = sbml.read(in_and_out("", "", "1.5", "0.1 * X", event("e", "X >= 8", {"X": "0"})))
    paths = simulate(jax.random.key(11), model.network, model.parameters, model.initial_counts, [4.0], num_paths=PATHS)
    assert_distribution(np.asarray(paths.samples("X"))[:, 0], resetting_chain(8, 1.5, 0.1, [4.0])[0])
