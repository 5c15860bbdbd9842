"""Derivatives of exact laws against closed forms, identities and differences; the law as a differentiable ensemble; what is refused.

Tolerances. Closed forms and identities hold to 1e-9 (rounding, and a truncation below 1e-12). A central difference with steps h = 1e-4 in
the logarithm of a parameter is held to 1e-6 of the largest value: h²/6 times a third derivative of some hundreds, plus 1e-12/h.
Numbers of the specification hold to half a unit of their last digit. What passes through single precision holds to 1e-5.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from ssagrad import Network, NetworkError, exact, models
from ssagrad.exact import MasterEquation, TruncationError

TURNOVER = Network.from_text("0 -> X @ k; X -> 0 @ d")
RATES = {"k": 10.0, "d": 1.0}
HILL = Network.from_text("0 -> X @ f; X -> 0 @ d", propensities={"f": lambda x, p: p["k"] / (1 + (x["X"] / p["K"]) ** p["n"])})


def turnover(bound=80):
    return MasterEquation.build(TURNOVER, {}, bounds={"X": bound})


def association(total=10):
    return MasterEquation.build(models.association().network, {"A": total, "B": total})


def in_logarithms(gradient, parameters):
    """θ ∂/∂θ of scalar parameters."""
    return {name: np.asarray(gradient[name]) * value for name, value in parameters.items()}


def means_of(master, parameters, **clock):
    """Means of all species, as a function of the parameters."""
    return master.solve(parameters, **clock).mean()


def differences(mean, parameters, step=1e-4):
    """Central differences of mean(parameters) in the logarithms of scalar parameters."""

    def shifted(name, sign):
        return mean(parameters | {name: parameters[name] * np.exp(sign * step)})

    return {name: (shifted(name, 1) - shifted(name, -1)) / (2 * step) for name in parameters}


def assert_same(found, expected, *, relative):
    """Two mappings from parameters to arrays agree to a part of the largest value."""
    assert found.keys() == expected.keys()
    scale = max(np.abs(value).max() for value in expected.values())
    for name in expected:
        assert np.shape(found[name]) == np.shape(expected[name])
        assert np.abs(np.asarray(found[name], float) - expected[name]).max() <= relative * scale, name


def test_turnover_has_the_derivatives_of_the_specification():
    """State at T = 3: 9.5021 and −8.0085 per logarithm of k and d; average over time until then: 6.8326 and −4.1631 (spec 2, section 3.4)."""
    state = in_logarithms(turnover().gradient(RATES, [3.0], "X"), RATES)
    average = in_logarithms(turnover().gradient(RATES, [3.0], "X", average=True), RATES)
    assert np.allclose([state["k"], state["d"]], [[9.5021], [-8.0085]], rtol=0, atol=5e-5)
    assert np.allclose([average["k"], average["d"]], [[6.8326], [-4.1631]], rtol=0, atol=5e-5)


def test_every_probability_has_the_derivative_of_the_closed_form():
    """From nothing the law is Poisson with mean m, so that ∂p_n/∂m = p_{n−1} − p_n, at every time, the first time included."""
    times = np.array([0.0, 0.02, 1.0, 3.0, 40.0])
    found = turnover().gradient(RATES, times, lambda x: jnp.where(x["X"] == jnp.arange(60.0), 1.0, 0.0))
    law = exact.birth_death(times, immigration=10.0, death=1.0).probabilities[:, :60]
    per_mean = np.diff(law, axis=1, prepend=0.0) * -1
    decay = np.exp(-times)
    assert np.abs(found["k"] - per_mean * (1 - decay)[:, None]).max() < 1e-12
    assert np.abs(found["d"] - per_mean * (10 * times * decay - 10 * (1 - decay))[:, None]).max() < 1e-11


def test_averages_over_time_are_integrals():
    """The law at a uniform time, for several times in one call, is (1/t) ∫ e^{Qs} ds, from the exponential of a block matrix."""
    master, parameters, size = association(3), {"k_on": 0.7, "k_off": 1.3}, 4
    times = np.array([0.0, 0.4, 0.4, 2.5, 20.0])
    law = master.solve(parameters, times, average=True)
    blocks = np.block([[master.generator(parameters).toarray(), np.eye(size)], [np.zeros((size, 2 * size))]])
    expected = [np.eye(size)[0], *(expm(t * blocks)[:size, size] / t for t in times[1:])]
    assert np.abs(law.probabilities - expected).max() < 1e-12
    assert np.abs(law.lost).max() < 1e-12


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize(
    ("network", "initial", "bounds", "parameters"),
    [
        (models.sir().network, {"S": 30, "I": 2}, {}, {"infection": 0.15, "recovery": 2.0}),
        (models.dimerisation().network, {"P": 31}, {}, {"k_on": 0.05, "k_off": 0.8}),
        (HILL, {"X": 2}, {"X": 70}, {"k": 20.0, "K": 6.0, "n": 2.5, "d": 1.0}),
    ],
    ids=["SIR", "dimerisation", "Hill"],
)
def test_derivatives_are_limits_of_differences(network, initial, bounds, parameters, average):
    """All species in time, and after 0, 7 and 20 events."""
    master = MasterEquation.build(network, initial, bounds=bounds)
    for clock in ({"times": [0.3, 1.0]}, {"num_events": [0, 7, 20]}):
        found = in_logarithms(master.gradient(parameters, **clock, average=average), parameters)
        means = partial(means_of, master, **clock, average=average)
        assert_same(found, differences(means, parameters), relative=1e-6)


def test_linear_networks_agree_with_their_moment_equations():
    """A gene that switches: means of all species, differentiated, from equations that know no states."""
    model = models.telegraph()
    master = MasterEquation.build(model.network, model.initial_counts, bounds={"mRNA": 90})
    found = in_logarithms(master.gradient(model.parameters, [0.7, 3.0]), model.parameters)
    moments = differences(lambda p: exact.linear_moments(model.network, p, model.initial_counts, [0.7, 3.0]).mean, model.parameters)
    assert_same(found, moments, relative=1e-6)


@pytest.mark.parametrize(
    ("affinity", "in_time", "by_event"),
    [
        (0.01, (0.845, 0.719), (1.196, 0.600)),
        (0.1, (3.899, 1.760), (3.850, 1.579)),
        (1.0, (7.488, 1.179), (7.146, 1.103)),
        (10.0, (9.326, 0.478), (8.877, 0.450)),
        (100.0, (9.905, 0.0901), (9.414, 0.0818)),
    ],
)
def test_association_at_rest(affinity, in_time, by_event):
    """Mean and derivative in time and by event are those of spec 2, section 4, and obey ∂⟨n⟩ = Var n and Cov(n, n + a_on/a₀)."""
    master, parameters = association(), {"k_on": affinity, "k_off": 1.0}
    for clock, values in (({"times": np.inf}, in_time), ({"num_events": np.inf}, by_event)):
        law, gradient = master.solve(parameters, **clock), in_logarithms(master.gradient(parameters, **clock, observable="C"), parameters)
        digits = 5e-5 if values[1] < 0.1 else 5e-4
        assert np.allclose(law.mean("C"), values[0], rtol=0, atol=5e-4)
        assert np.allclose(gradient["k_on"], values[1], rtol=0, atol=digits)
        complexes, weights = master.states[:, 2], law.probabilities[0]
        on, off = affinity * (10 - complexes) ** 2, complexes
        score = complexes if "times" in clock else complexes + on / (on + off)
        covariance = weights @ (complexes * score) - weights @ complexes * (weights @ score)
        assert np.allclose(gradient["k_on"], covariance, rtol=1e-9, atol=0)
        assert np.allclose(gradient["k_off"], -covariance, rtol=1e-9, atol=0)  # the law depends on k_on/k_off only


@pytest.mark.parametrize(("affinity", "mean", "slope"), [(1.0, 16.205, 1.807), (10.0, 18.905, 0.691), (100.0, 19.818, 0.165)])
def test_association_of_twenty(affinity, mean, slope):
    """Twenty and twenty molecules (spec 2, section 4)."""
    parameters = {"k_on": affinity, "k_off": 1.0}
    assert np.allclose(association(20).solve(parameters, np.inf).mean("C"), mean, rtol=0, atol=5e-4)
    assert np.allclose(affinity * association(20).gradient(parameters, np.inf, "C")["k_on"], slope, rtol=0, atol=5e-4)


def test_the_jump_chain_has_period_two():
    """After an even number of events the derivative is 0.628; that of two successive numbers, averaged, is the stationary 0.450."""
    parameters = {"k_on": 10.0, "k_off": 1.0}
    even, odd, rest = 10 * association().gradient(parameters, num_events=[320, 321, np.inf], observable="C")["k_on"]
    assert abs(even - 0.628) < 5e-4
    assert abs(even - rest) > 0.1
    assert abs((even + odd) / 2 - rest) < 1e-9
    long, longer = 10 * association().gradient(parameters, num_events=[4000, 8000], observable="C", average=True)["k_on"]
    assert abs(2 * longer - long - rest) < 1e-9  # the rest of an average over N events is of order 1/N


def test_event_averages_are_over_the_states_after_each_event():
    """The first state is not among them, unless there were no events."""
    master, parameters = association(4), {"k_on": 0.5, "k_off": 2.0}
    one_by_one = master.solve(parameters, num_events=np.arange(7)).mean("C")
    averages = master.solve(parameters, num_events=[0, 1, 6], average=True).mean("C")
    assert np.allclose(averages, [0, one_by_one[1], one_by_one[1:].mean()], rtol=1e-12, atol=0)


def test_a_long_time_leads_to_rest():
    """Law and derivative at t = 60 are stationary ones, which a second, wholly different computation gives; also for a Hill function."""
    parameters = {"k": 20.0, "K": 6.0, "n": 2.5, "d": 1.0}
    master = MasterEquation.build(HILL, {}, bounds={"X": 70})
    law = master.solve(parameters, [60.0, np.inf])
    assert np.abs(law.probabilities[0] - law.probabilities[1]).max() < 1e-11
    found = master.gradient(parameters, [60.0, np.inf], "X")
    assert_same({k: v[0] for k, v in found.items()}, {k: v[1] for k, v in found.items()}, relative=1e-9)


def test_rest_is_found_from_an_unlikely_start():
    """Poisson with mean 300: the first state has the probability e⁻³⁰⁰, and derivatives in the mean are still exact."""
    found = turnover(700).gradient({"k": 300.0, "d": 1.0}, np.inf, lambda x: jnp.stack([x["X"], x["X"] ** 2]))
    assert np.allclose(found["k"], [[1.0, 601.0]], rtol=1e-9, atol=0)


def test_absorbing_states():
    """Events stop there; the only one is the law at rest, which depends on nothing."""
    decay = MasterEquation.build(Network.from_text("X -> 0 @ d; X -> X @ idle"), {"X": 2})
    parameters = {"d": 1.0, "idle": 3.0}
    assert np.allclose(decay.solve(parameters, num_events=[1, 400]).mean("X"), [1.75, 0], rtol=0, atol=1e-12)
    assert np.allclose(decay.gradient(parameters, num_events=1, observable="X")["d"], -3 / 16, rtol=1e-12, atol=0)
    for clock in ({"times": np.inf}, {"num_events": np.inf}):
        assert decay.solve(parameters, **clock).mean("X") == 0
        assert decay.gradient(parameters, **clock, observable="X")["d"] == 0


def test_every_transformation_gives_the_same_derivative():
    """grad, jacfwd, jit and vmap of the ensemble's mean against `gradient`, at known and at traced parameters."""
    master, times = MasterEquation.build(models.sir().network, {"S": 12, "I": 2}), [0.2, 0.8]
    parameters = {"infection": jnp.asarray(0.3), "recovery": jnp.asarray(2.0)}

    def means(parameters):
        return master.ensemble(parameters, times).mean("I")

    def last(parameters):
        return means(parameters)[1]

    truth = master.gradient(parameters, times, "I")
    assert np.allclose(means(parameters), master.solve(parameters, times).mean("I"), rtol=1e-5, atol=0)
    assert np.allclose(jax.jit(means)(parameters), means(parameters), rtol=1e-6, atol=0)
    for jacobian in (jax.jacfwd(means), jax.jacrev(means), jax.jit(jax.jacfwd(means))):
        assert_same(jacobian(parameters), truth, relative=1e-5)
    for gradient in (jax.grad(last), jax.jit(jax.grad(last))):
        assert_same(gradient(parameters), {name: values[1] for name, values in truth.items()}, relative=1e-5)
    several = jax.vmap(jax.grad(last))({"infection": jnp.array([0.1, 0.3]), "recovery": jnp.array([1.0, 2.0])})
    assert_same({name: values[1] for name, values in several.items()}, {name: values[1] for name, values in truth.items()}, relative=1e-5)


@pytest.mark.parametrize("clock", [{"times": [0.5, 2.0], "average": True}, {"num_events": [5, 6]}, {"times": np.inf}], ids=str)
def test_a_loss_of_several_statistics(clock):
    """A nonlinear loss of means and a variance, through the ensemble, against the chain rule in float64."""
    master, parameters = association(), {"k_on": 2.0, "k_off": 1.0}

    def loss(parameters):
        law = master.ensemble(parameters, **clock)
        mean, square = law.mean("C"), law.mean(lambda x: x["C"] ** 2)
        return jnp.sum((mean - 3.0) ** 2 / (1 + square - mean**2))

    moments = master.solve(parameters, **clock)
    mean, square = moments.mean("C"), moments.mean(lambda x: x["C"] ** 2)
    spread = 1 + square - mean**2
    slopes = master.gradient(parameters, **clock, observable=lambda x: jnp.stack([x["C"], x["C"] ** 2]))
    per_mean, per_square = 2 * (mean - 3) / spread + 2 * mean * (mean - 3) ** 2 / spread**2, -((mean - 3) ** 2) / spread**2
    expected = {name: np.sum(per_mean * s[:, 0] + per_square * s[:, 1]) for name, s in slopes.items()}
    assert_same(jax.grad(loss)(parameters), expected, relative=1e-5)


def test_the_ensemble_is_the_law():
    """Rows are states, weights are probabilities that sum to 1, in time and by event; the derivative of their sum is 0."""
    master = association(5)
    law = master.ensemble({"k_on": 1.0, "k_off": 0.5}, [0.0, 0.5, np.inf])
    assert law.counts.shape == (6, 3, 3)
    assert law.weights.shape == (6, 3)
    assert law.species == ("A", "B", "C")
    assert np.allclose(law.weights.sum(0), 1, rtol=1e-6, atol=0)
    assert np.allclose(law.weights.T, master.solve({"k_on": 1.0, "k_off": 0.5}, [0.0, 0.5, np.inf]).probabilities, rtol=1e-6, atol=1e-30)
    slopes = jax.jacfwd(lambda p: master.ensemble(p, [0.5, np.inf]).weights)({"k_on": 1.0, "k_off": 0.5})
    assert np.abs(np.asarray(slopes["k_on"].sum(0))).max() < 1e-6
    assert not jax.config.jax_enable_x64


def test_double_precision_is_kept_where_jax_has_it():
    """With JAX in double precision the ensemble has the digits of `gradient`, compiled or not; without, `gradient` has them all the same."""
    master = turnover()
    truth = master.gradient(RATES, [3.0], "X")
    with jax.enable_x64(True):
        for transform in (jax.grad, lambda f: jax.jit(jax.grad(f))):
            found = transform(lambda p: master.ensemble(p, [3.0]).mean("X")[0])(RATES)
            assert_same({name: value[None] for name, value in found.items()}, truth, relative=1e-9)
    assert np.allclose(truth["k"], -np.expm1(-3), rtol=1e-11, atol=0)


def test_parameters_of_any_shape():
    """Arrays and nested trees; what no reaction reads has the derivative 0, and whole numbers are as good as others."""
    network = Network.from_text("0 -> X @ f; X -> 0 @ d", propensities={"f": lambda x, p: p["net"]["w"] @ jnp.stack([jnp.ones_like(x["X"]), x["X"]])})
    master = MasterEquation.build(network, {}, bounds={"X": 60})
    parameters = {"net": {"w": np.array([4.0, 0.25])}, "d": 1, "unread": np.ones((2, 3))}
    found = master.gradient(parameters, [1.0, 2.0], "X")
    assert found["net"]["w"].shape == (2, 2)
    assert found["unread"].shape == (2, 2, 3)
    assert not found["unread"].any()
    law = exact.birth_death([1.0, 2.0], immigration=4.0, birth=0.25, death=1.0)
    assert np.allclose(found["net"]["w"][:, 0], law.mean / 4, rtol=1e-9, atol=0)
    assert np.allclose(found["d"], -found["net"]["w"][:, 1], rtol=1e-9, atol=0)  # the mean depends on birth − death
    assert master.gradient(parameters, [1.0, 2.0])["net"]["w"].shape == (2, 1, 2)
    parameters |= {"net": {"w": jnp.array([4.0, 0.25])}, "d": 1.0, "unread": jnp.ones((2, 3))}
    through = jax.grad(lambda p: master.ensemble(p, [1.0, 2.0]).mean("X")[1])(parameters)
    assert np.allclose(through["net"]["w"], found["net"]["w"][1], rtol=1e-5, atol=0)
    assert not through["unread"].any()


def test_lost_probability_is_refused_with_its_derivative():
    """In `gradient`, in the ensemble, in a compiled program; and where the loss is small but its derivative is not."""
    births = MasterEquation.build(Network.from_text("0 -> X @ k"), {}, bounds={"X": 4})
    lost = r"0\.0037 of the probability left the 5 states by t = 1 \(tolerance 1e-09\); raise the bounds {'X': 4}"
    with pytest.raises(TruncationError, match=lost):
        births.gradient({"k": 1.0}, [1.0], "X")
    with pytest.raises(TruncationError, match=lost):
        jax.grad(lambda p: births.ensemble(p, [1.0]).mean("X")[0])({"k": 1.0})
    with pytest.raises(jax.errors.JaxRuntimeError, match=lost):
        jax.jit(lambda p: births.ensemble(p, [1.0]).mean("X"))({"k": 1.0})
    with pytest.raises(TruncationError, match=r"left the 5 states by 5 events"):
        births.solve({"k": 1.0}, num_events=5)
    with pytest.raises(TruncationError, match=r"left the 5 states by t = 1 changes by 0\.015 per logarithm of parameter number 0 \(tolerance 0\.004"):
        births.gradient({"k": 1.0}, [1.0], "X", tolerance=0.004)
    kept = births.gradient({"k": 1.0}, [1.0], lambda x: 1.0, tolerance=0.02)["k"]
    assert np.allclose(kept, -np.exp(-1) / 24, rtol=1e-9, atol=0)


def test_a_law_at_rest_has_to_exist():
    """Several absorbing states, and a bound that cuts off what matters."""
    epidemic = MasterEquation.build(models.sir().network, {"S": 3, "I": 1})
    words = r"the stationary law is not unique: .* found 4, such as those with {'S': \d, 'I': 0, 'R': \d} \(absorbing\)"
    with pytest.raises(NetworkError, match=words):
        epidemic.solve(models.sir().parameters, np.inf)
    short = r"0\.\d+ of the probability is in those of the 13 states that the bounds cut off from others, at rest \(tolerance 1e-09\)"
    with pytest.raises(TruncationError, match=short):
        turnover(12).solve(RATES, np.inf)
    with pytest.raises(TruncationError, match="at rest"):
        MasterEquation.build(Network.from_text("0 -> X @ k"), {}, bounds={"X": 4}).solve({"k": 1.0}, np.inf)
    assert turnover(40).solve(RATES, np.inf, tolerance=1e-9).lost[0] < 1e-11


def test_what_is_refused():
    """Unclear or fractional clocks, a second derivative, a propensity without a derivative; but not a network without parameters."""
    master = turnover()
    with pytest.raises(NetworkError, match="expected either times or num_events, received neither"):
        master.solve(RATES)
    with pytest.raises(NetworkError, match="expected either times or num_events, received both"):
        master.ensemble(RATES, [1.0], num_events=[1])
    with pytest.raises(NetworkError, match=r"expected whole numbers of events, received \[1.5\]"):
        master.gradient(RATES, num_events=[1.5])
    with pytest.raises(NetworkError, match="expected times"):
        master.solve(RATES, [np.inf, 1.0])
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        jax.hessian(lambda p: master.ensemble(p, [1.0]).mean("X")[0])(RATES)
    numbers = MasterEquation.build(Network.from_text("0 -> X @ 2; X -> 0 @ 3"), {}, bounds={"X": 30})
    assert numbers.gradient({}, [1.0]) == {}
    assert np.allclose(numbers.ensemble({}, [1.0]).mean("X"), -np.expm1(-3) * 2 / 3, rtol=1e-6, atol=0)
    root = MasterEquation.build(Network.from_text("0 -> X @ f", propensities={"f": lambda x, p: jnp.sqrt(p["k"])}), {}, bounds={"X": 3})
    with pytest.raises(NetworkError, match=r"reaction '0 -> X @ f': propensity with an infinite or NaN derivative in the parameters at {'X': 0}"):
        root.gradient({"k": 0.0}, [1.0])


def test_a_hundred_thousand_states():
    """All of a 316 × 316 grid are found, in order, and every reaction leads where it should."""
    network = Network.from_text("0 <-> X @ a, b; 0 <-> Y @ c, d")
    master = MasterEquation.build(network, {}, bounds={"X": 315, "Y": 315})
    assert len(master.states) == len(np.unique(master.states @ [316, 1])) == 316**2
    for r, change in enumerate(network.stoichiometry):
        source = np.flatnonzero(master.targets[:, r] >= 0)
        assert len(source) == 315 * 316
        assert np.array_equal(master.states[master.targets[source, r]], master.states[source] + change)
