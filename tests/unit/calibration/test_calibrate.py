"""Fits of small networks: exact gradients, checkpoints, what is left open, what is refused."""

import doctest

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from ssagrad import Network
from ssagrad.calibration import CalibrationError, calibrate, choice, fit, model_from_text, moment_fit
from ssagrad.calibration.example import outbreaks
from ssagrad.calibration.experiments import as_problem
from ssagrad.observations import Observations, ObservationsError

BIRTH_DEATH = model_from_text("0 -> X @ birth; X -> 0 @ death; birth = 4; death = 0.5")


def poisson_counts(seed, *, birth=10.0, death=0.5, number=60, times=(1.0, 3.0, 6.0)):
    """Cells measured once: immigration–death from nothing is Poisson at any time."""
    random, rows = np.random.default_rng(seed), {"time": [], "replicate": [], "X": []}
    for t in times:
        counts = random.poisson(birth / death * (1 - np.exp(-death * t)), number)
        for column, values in zip(rows.values(), ([t] * number, [f"{t}-{i}" for i in range(number)], counts), strict=True):
            column.extend(values)
    return Observations.from_table(rows)


@pytest.fixture(scope="module")
def fitted():
    return fit(BIRTH_DEATH, poisson_counts(1), free=("death", "birth"))


def test_known_rates_lie_in_the_intervals(fitted):
    """Exact gradients are chosen and said to be; both rates lie within four standard errors of the truth; all starts meet."""
    assert fitted.estimator == "exact" and "states can be reached" in fitted.why and not fitted.undetermined
    for name, true in {"birth": 10.0, "death": 0.5}.items():
        assert abs(np.log(fitted.estimates[name] / true)) < 4 * fitted.standard_errors[name] < 0.5
        low, high = fitted.intervals[name]
        assert low < fitted.estimates[name] < high
        assert np.ptp(np.log(fitted.progress.parameters[name][:, -1])) < 0.01
    assert 0.2 < fitted.misfit < 3 and fitted.parameters == fitted.estimates
    assert "95 % interval" in repr(fitted) and fitted.fitted[0].means.shape == (61, 1)


def test_error_bars_are_those_of_maximum_likelihood(fitted):
    """Poisson counts: the information of ln θ is Σ_t n (∂m/∂ln θ)²/m, which moments with variances reach up to the noise of weights."""
    b, d, n = fitted.estimates["birth"], fitted.estimates["death"], 60
    t = np.array([1.0, 3.0, 6.0])
    mean = b / d * (1 - np.exp(-d * t))
    slopes = np.stack([-mean + b * t * np.exp(-d * t), mean], axis=1)  # in ln death, ln birth
    errors = np.sqrt(np.diag(np.linalg.inv((n * slopes / mean[:, None]).T @ slopes)))
    found = [fitted.standard_errors[name] for name in ("death", "birth")]
    np.testing.assert_allclose(found, errors, rtol=0.25)


def test_a_fit_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    """Stopped after its first stage by Ctrl-C, a fit ends where one without a break does, without computing that stage again."""
    data, options = poisson_counts(2), {"free": ("birth", "death"), "num_starts": 2}
    calls = []
    monkeypatch.setattr(moment_fit, "_rests", lambda *_: False)  # so that there is a second stage
    real = moment_fit.match_moments

    def counted(*arguments, **settings):
        calls.append(settings["horizons"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **settings)

    monkeypatch.setattr(moment_fit, "match_moments", counted)
    path = tmp_path / "fit.npz"
    with pytest.raises(KeyboardInterrupt):
        fit(BIRTH_DEATH, data, checkpoint=path, **options)
    again = fit(BIRTH_DEATH, data, checkpoint=path, **options)
    assert len(calls) == 3 and len(calls[0]) > len(calls[2])
    monkeypatch.setattr(moment_fit, "match_moments", real)
    assert again.estimates == fit(BIRTH_DEATH, data, **options).estimates
    with pytest.raises(ValueError, match="another computation"):
        fit(BIRTH_DEATH, data, checkpoint=path, **{**options, "num_starts": 3})


@pytest.mark.parametrize("notation", ["functions", "sbml"])
def test_a_checkpoint_of_another_rate_law_is_refused(tmp_path, monkeypatch, notation):
    """A law edited under its name is another computation; the same one, made anew, is the same."""

    def model(exponent):
        if notation == "sbml":
            from ssagrad import sbml

            law = f"birth: => X; k * 10^{exponent} / (10^{exponent} + X^{exponent}); death: X => ; X; k = 9"
            return sbml.read_antimony(f"model m\n compartment cell = 1\n substanceOnly species X in cell\n X = 0\n {law}\nend")
        laws = {1: lambda x, p: p["k"] / (1 + x["X"]), 2: lambda x, p: p["k"] / (1 + x["X"] ** 2)}
        network = Network.from_text("0 -> X @ birth; X -> 0 @ 1", propensities={"birth": laws[exponent]})
        return SimpleNamespace(network=network, parameters={"k": 9.0}, initial_counts={})

    def stop(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(moment_fit, "match_moments", stop)
    options = {"free": "k", "estimator": "dynkin_controls", "checkpoint": tmp_path / "fit.npz"}
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fit(model(2), poisson_counts(3, times=(1.0,)), **options)
    with pytest.raises(ValueError, match="another computation. network"):
        fit(model(1), poisson_counts(3, times=(1.0,)), **options)


def test_stopping_says_where_to_go_on(tmp_path, monkeypatch, capsys):
    """The message of Ctrl-C names the checkpoint."""

    def stop(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(moment_fit, "match_moments", stop)
    with pytest.raises(KeyboardInterrupt):
        fit(BIRTH_DEATH, poisson_counts(3), free="birth", checkpoint=tmp_path / "fit.npz")
    assert f"{tmp_path / 'fit.npz'}: the same call goes on" in capsys.readouterr().err


def test_what_the_data_leave_open_is_named():
    """Where only the ill are counted, recovery and death take them away together; where the dead are counted too, each is known."""
    example = outbreaks(4, people=8, num_groups=80)
    seen = fit(example.model, example.observations, free=("infection", "recovery", "death"), num_starts=1)
    assert not seen.undetermined and all(np.isfinite(error) for error in seen.standard_errors.values())
    blind = fit(example.model, example.observations.of(["I"]), free=("infection", "recovery", "death"), num_starts=1)
    (one,) = blind.undetermined
    assert "recovery" in one.text and "death" in one.text and "infection" not in one.text
    assert np.isinf(blind.standard_errors["death"]) and np.isfinite(blind.standard_errors["infection"])
    assert "not determined" in repr(blind.table())


def test_a_parameter_that_nothing_depends_on_is_open():
    """A reaction of a species that is not counted and changes nothing else."""
    model = model_from_text("0 -> X @ birth; X -> 0 @ death; X -> X + Y @ make; birth = 9; death = 0.5; make = 0.01")
    found = fit(model, poisson_counts(5, times=(1.0, 2.0)), free=("birth", "make"), estimator="exact", num_starts=2)
    assert [one.text.split(":")[0] for one in found.undetermined] == ["make"]


def test_single_noisy_paths_are_fitted_by_a_filter():
    """Four paths of twenty noisy counts: both rates within four of their standard errors, which are below a half."""
    random, rows = np.random.default_rng(6), {"time": [], "replicate": [], "X": []}
    for name in "abcd":
        count, clock = 0, 0.0
        for step in range(1, 21):
            while True:
                total = 10.0 + 0.5 * count
                wait = random.exponential(1 / total)
                if clock + wait > 0.5 * step:
                    clock = 0.5 * step
                    break
                clock += wait
                count += 1 if random.random() < 10.0 / total else -1
            for column, value in zip(rows.values(), (0.5 * step, name, count + random.normal(0, 3)), strict=True):
                column.append(value)
    data = Observations.from_table(rows, noisy=True)
    found = fit(BIRTH_DEATH, data, free=("birth", "death"), noise=3.0, num_starts=1, num_paths=200, num_steps=80)
    assert found.estimator == "particle filter" and found.progress.cost_unit == "steps"
    for name, true in {"birth": 10.0, "death": 0.5}.items():
        assert abs(np.log(found.estimates[name] / true)) < 4 * found.standard_errors[name] < 2
    assert 0 < found.effective_size < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"free": ("brith",)}, "received 'brith'; did you mean 'birth'"),
        ({"free": ()}, "expected the names of the parameters to fit"),
        ({"free": ("birth",), "estimator": "magic"}, "expected estimator among auto, exact"),
        ({"free": ("birth",), "noise": -1.0}, "noise as a number > 0"),
        ({"free": ("birth",), "num_starts": 0}, "num_starts as a whole number ≥ 1"),
        ({"free": ("birth",), "num_paths": 3}, "num_paths as a whole number ≥ 64"),
        ({"free": ("birth",), "num_paths": float("nan")}, "num_paths as a whole number ≥ 64"),
        ({"free": ("birth",), "seed": -1}, "seed as a whole number ≥ 0"),
        ({"free": ("birth",), "noise": 1.0, "estimator": "exact"}, "expected no estimator beside noise"),
        ({"free": ("birth",), "conditions": {"low": {}}}, "expected conditions of the data"),
        ({"free": ("birth",), "conditions": {"": {"params": {}}}}, "expected changes of parameters and of initial_counts, received .'params'"),
        ({"free": ("birth",), "conditions": {"": {"parameters": {"deth": 1.0}}}}, "unknown parameter 'deth'; did you mean 'death'"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, message):
    """Names and numbers, before anything is computed."""
    with pytest.raises(CalibrationError, match=message):
        fit(BIRTH_DEATH, poisson_counts(7), **options)


def test_models_and_data_have_to_fit():
    """Species that the model lacks, first guesses of zero, events, states that cannot be listed."""
    with pytest.raises(ObservationsError, match="unknown species 'X'"):
        fit(model_from_text("0 -> Y @ k; k = 1"), poisson_counts(8), free="k")
    with pytest.raises(CalibrationError, match="first guess > 0 of 'k'"):
        fit(model_from_text("0 -> X @ k; k = 0"), poisson_counts(8), free="k")
    with pytest.raises(CalibrationError, match="expected a model whose states can be listed"):
        fit(model_from_text("0 -> X @ k; X -> X + Y @ 100; k = 200"), poisson_counts(8), free="k", estimator="exact")

    class WithEvents:
        network, parameters, initial_counts, events = BIRTH_DEATH.network, BIRTH_DEATH.parameters, {}, ("at time 3",)

    with pytest.raises(CalibrationError, match="without events .* received .'at time 3'"):
        fit(WithEvents(), poisson_counts(8), free="birth")


def test_conditions_that_the_model_does_not_tell_apart_are_named():
    """Two conditions with nothing written about them are fitted as one, which is said; one of them may be what the model says without a condition."""
    rows = {"time": [2.0] * 6, "replicate": range(6), "X": [12, 9, 14, 8, 11, 10], "condition": np.repeat(["control", "drug", "cold"], 2)}
    changes = {"cold": {"parameters": {"death": 1.0}}}
    (note,) = as_problem(BIRTH_DEATH, Observations.from_table(rows), "birth", changes).notes
    assert "nothing different about the conditions control, drug, which" in note
    assert not as_problem(BIRTH_DEATH, Observations.from_table(rows), "birth", changes | {"drug": {"initial_counts": {"X": 3}}}).notes


@pytest.mark.parametrize("estimator", ["dynkin_controls", "gumbel_softmax", "propensity_straight_through"])
def test_few_paths_are_enough_to_begin_with(estimator):
    """num_paths=64, the least, is fitted with simulated gradients; what explodes is said of straight-through ones alone."""
    found = fit(BIRTH_DEATH, poisson_counts(9, times=(1.0, 2.0)), free="birth", estimator=estimator, num_paths=64, num_starts=1)
    assert abs(np.log(found.estimates["birth"] / 10)) < 4 * found.standard_errors["birth"]
    assert estimator in choice.BIASED or not any("explode" in text for text in found.warnings)


def test_straight_through_gradients_are_looked_into_only_where_they_are_used(monkeypatch):
    """Their Lyapunov exponents are measured, and a warning is given, if one asks for them."""
    asked = []
    monkeypatch.setattr(choice, "explosion", lambda *arguments: asked.append(1) or "They explode.")
    monkeypatch.setattr(choice.estimators, "compare", lambda by_name, *arguments, **sizes: [SimpleNamespace(estimator=[*by_name][0], efficiency=1.0)])
    problem = as_problem(BIRTH_DEATH, poisson_counts(9), "birth")
    options = {"key": jax.random.key(0), "problem": problem, "starts": problem.guess[None]}
    assert choice.pilot(jax.random.key(1), problem, because="so", num_paths=128).warning == ""
    assert choice.choose(estimator="score_function", **options).warning == "" and not asked
    assert choice.choose(estimator="gumbel_softmax", **options).warning == "They explode."


def test_data_at_time_zero_are_compared_with_the_start():
    """They are not fitted, and a difference is said."""
    rows = {"time": [0, 0, 2, 2, 2], "replicate": ["a", "b", "a", "b", "c"], "X": [5, 5, 12, 9, 14]}
    found = fit(BIRTH_DEATH, Observations.from_table(rows), free="birth", num_starts=1)
    assert any("At time 0, the data: X is 5 on average, the model starts with 0" in text for text in found.warnings)


def test_the_example_of_the_docstring_runs():
    """What `help(fit)` shows is true."""
    found = doctest.testmod(calibrate)
    assert found.failed == 0 and found.attempted > 3
