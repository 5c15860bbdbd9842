"""Dynkin controls against exact gradients: unbiased on networks that close and on such that do not, and far less noisy than the score function."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from support import assert_mean

from ssagrad import exact, models
from ssagrad.estimators import dynkin_controls, score_function

PATHS = 4096
SMALL_SIR = models.sir()._replace(parameters={"infection": 0.1, "recovery": 1.0}, initial_counts={"S": 22, "I": 3})
CONTROLLED = partial(dynkin_controls, num_batches=64)


def square(name):
    return lambda counts: counts[name] ** 2


def logarithm(name):  # no polynomial
    return lambda counts: jax.numpy.log1p(counts[name])


# model, species bounds, time, observables, how many times less variance than the score function there is at least
CASES = {
    "association": (models.association(), {}, 2.0, ("C", square("C"), logarithm("C")), 20),
    "SIR": (SMALL_SIR, {}, 2.0, ("I", square("I")), 10),
    "SIR, products of two with curves": (SMALL_SIR, {}, 2.0, ("I", square("I")), 10),
    "telegraph": (models.telegraph(), {"mRNA": 90}, 3.0, ("mRNA", square("mRNA")), 20),
}


def gradients(estimator, model, time, observables, seed):
    """Samples of the gradients in ln θ [n, observable, P]: observables at the time, and the time average of the first one."""

    def terms(theta):
        paths = estimator(jax.random.key(seed), model.network, theta, model.initial_counts, [time], num_paths=PATHS, record=("time_integrals",))
        return [paths.terms(paths.samples(f))[:, -1] for f in observables] + [paths.time_average_terms(observables[0])[:, -1]]

    slopes = jax.jit(jax.jacfwd(terms))(model.parameters)
    return np.stack([np.stack([np.asarray(row[name], float) * model.parameters[name] for name in row], axis=-1) for row in slopes], axis=1)


@pytest.mark.parametrize("name", CASES)
def test_unbiased_and_far_less_noisy_than_the_score_function(name):
    model, bounds, time, observables, times_less = CASES[name]
    master = exact.MasterEquation.build(model.network, model.initial_counts, bounds=bounds)
    truth = [master.gradient(model.parameters, [time], f) for f in observables]
    truth.append(master.gradient(model.parameters, [time], observables[0], average=True))
    truth = np.array([[float(np.ravel(row[k])[-1]) * model.parameters[k] for k in sorted(row)] for row in truth])
    controlled = gradients(partial(CONTROLLED, degree=2) if "products of two" in name else CONTROLLED, model, time, observables, 1)
    plain = gradients(score_function, model, time, observables, 2)
    largest = np.sqrt(plain.var(0, ddof=1).max() / PATHS / times_less)
    assert_mean(controlled, truth, largest_standard_error=largest)
    ratio = (plain.var(0, ddof=1) / PATHS) / (controlled.var(0, ddof=1) / len(controlled))
    of_polynomials = [k for k, f in enumerate((*observables, "average")) if getattr(f, "__qualname__", "").split(".")[0] != "logarithm"]
    assert ratio[of_polynomials].min() > times_less, f"variance of the score function over that of the controlled one: {ratio}"


def test_a_wrong_value_function_is_corrected_and_its_correction_is_needed():
    """V of other rates is unbiased all the same; the same V without the sampled integral (negative control) is not, and the comparison says so."""
    model = models.immigration_death()
    time, theta = 2.0, model.parameters
    away = CONTROLLED(jax.random.key(3), model.network, {name: 0.7 * value for name, value in theta.items()}, {}, [time], num_paths=256)

    def samples(corrected):
        def terms(theta):
            paths = CONTROLLED(jax.random.key(1), model.network, theta, {}, [time], num_paths=PATHS, pilot=away)
            nothing = {name: jax.numpy.zeros_like(getattr(paths.controls, name)) for name in ("plain", "scored")}
            used = paths if corrected else paths.replace(controls=replace(paths.controls, **nothing))
            return used.terms(used.samples("X"))[:, -1]

        slopes = jax.jacfwd(terms)(theta)
        return np.stack([np.asarray(slopes[name], float) for name in ("immigration", "death")], axis=-1)

    immigration, death = theta["immigration"], theta["death"]
    gone = np.exp(-death * time)
    truth = np.array([(1 - gone) / death, -immigration / death**2 * (1 - gone) + immigration / death * time * gone])
    assert_mean(samples(True), truth, largest_standard_error=0.1)
    with pytest.raises(AssertionError, match="z ="):
        assert_mean(samples(False), truth, largest_standard_error=np.inf)


def test_genes_that_switch_fast():
    """Promoter repressilator (no exact gradient): the score function's gradient, with at most a quarter of its variance in every parameter."""
    model = models.promoter_repressilator()
    controlled, plain = (gradients(estimator, model, 8.0, ("P1",), seed)[:, 0] for estimator, seed in ((CONTROLLED, 1), (score_function, 2)))
    errors = [samples.std(0, ddof=1) / len(samples) ** 0.5 for samples in (controlled, plain)]
    z = (controlled.mean(0) - plain.mean(0)) / np.hypot(*errors)
    assert np.abs(z).max() < 4, z
    assert ((errors[1] / errors[0]) ** 2).min() > 4, (errors[1] / errors[0]) ** 2
