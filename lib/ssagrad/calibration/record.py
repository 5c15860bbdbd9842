"""What a fit found, as numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ssagrad.calibration.identifiability import Direction
from ssagrad.calibration.targets import least_error
from ssagrad.estimators.comparison import Row, show
from ssagrad.observations import Moments
from ssagrad.tables import Table


class Fitted(NamedTuple):
    """Data and fitted model under one condition, for the S observed species.

    times: of the curves [F]. means: of the model [F, S]. low, high: of nine paths in ten [F, S].
    data_times: [T]. data_means, data_errors: means over replicates and the half widths of their 95 % intervals [T, S]; NaN where there are none.
    data_low, data_high: 5 % and 95 % quantiles of the replicates [T, S]; NaN where there are fewer than 20.
    """

    name: str
    times: np.ndarray
    means: np.ndarray
    low: np.ndarray
    high: np.ndarray
    data_times: np.ndarray
    data_means: np.ndarray
    data_errors: np.ndarray
    data_low: np.ndarray
    data_high: np.ndarray


class Residual(NamedTuple):
    """How far the fitted model is from one kind of moment under one condition, in standard errors: times [n], z [n]."""

    condition: str
    moment: str
    times: np.ndarray
    z: np.ndarray


class Progress(NamedTuple):
    """How M starts came to their ends in K steps.

    cost: simulated events so far [M, K] (steps, where events are not counted), in the unit `cost_unit`. loss: [M, K]. loss_label: what the loss is.
    reference: the loss to expect of a right model, if known. parameters: by name, before each step and after the last [M, K + 1].
    best: the start that was followed.
    """

    cost: np.ndarray
    cost_unit: str
    loss: np.ndarray
    loss_label: str
    reference: float | None
    parameters: dict[str, np.ndarray]
    best: int


@dataclass(frozen=True, eq=False)
class Calibration:
    """A fit: estimates with intervals, how it came about, and what to think of it.

    Attributes:
        estimates: of the free parameters, by name. standard_errors: of their logarithms (relative errors); infinite where not determined.
        intervals: 95 %, of Student's t in the logarithm with one degree of freedom less than there are replicates at a time (half of the compared
            means have more), which for many is normal; of single paths normal. covariance: of the logarithms [P, P].
        estimator, why: where gradients came from, and the reason. pilot: measurements behind the choice, if there was one.
        misfit: loss at the end: mean square distance of the compared moments in their errors, about 1 if the model is right; of single paths, minus
            the log-likelihood.
        progress: of all starts. directions: combinations of parameters, from the worst determined one. residuals, fitted: model beside data.
        gradient_noise: relative standard error of simulated sensitivities, by parameter. effective_size: how many plain paths the simulated means
            are worth; of single paths, the smallest effective share of the particles. warnings: sentences.
        parameters: all values at the estimates, by name, as the first condition has them. species: that were observed.
    """

    estimates: dict[str, float]
    standard_errors: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    covariance: np.ndarray
    estimator: str
    why: str
    pilot: tuple[Row, ...]
    misfit: float
    progress: Progress
    directions: tuple[Direction, ...]
    residuals: tuple[Residual, ...]
    fitted: tuple[Fitted, ...]
    gradient_noise: dict[str, float]
    effective_size: float
    warnings: tuple[str, ...]
    parameters: dict[str, float]
    species: tuple[str, ...]

    @property
    def undetermined(self) -> tuple[Direction, ...]:
        """Combinations of parameters that the data leave open."""
        return tuple(one for one in self.directions if not one.is_determined)

    def panels(self) -> dict[tuple[str, str], dict]:
        """Model beside data, as `plots.model_and_data` takes it."""
        found = {}
        for one in self.fitted:
            for s, name in enumerate(self.species):
                data = (one.data_times, one.data_means[:, s], one.data_errors[:, s])
                curve = (one.times, one.means[:, s], one.low[:, s], one.high[:, s])
                found[one.name, name] = {"curve": curve, "data": data, "range": (one.data_low[:, s], one.data_high[:, s])}
        return found

    def table(self) -> Table:
        """Estimates with intervals."""
        rows = []
        for name, value in self.estimates.items():
            error, (low, high) = self.standard_errors[name], self.intervals[name]
            known, bounded = np.isfinite(error), low > 0 or high < np.inf  # a profile may end on one side
            rows.append((name, f"{value:.4g}", f"{100 * error:.2g} %" if known else "–", f"{low:.4g} to {high:.4g}" if bounded else self._open(name)))
        return Table(("parameter", "estimate", "standard error", "95 % interval"), rows)

    def _open(self, name: str) -> str:
        """Why a parameter has no interval: a direction with a share of it is not determined, or the fit cannot tell whether."""
        place = list(self.estimates).index(name)
        shared = [one for one in self.undetermined if abs(one.exponents[place]) > 0.1 * np.linalg.norm(one.exponents)]
        return "cannot be told" if shared and all(one.is_noisy for one in shared) else "not determined"

    def diagnosis(self) -> Table:
        """What there is to know about the fit, in words."""
        rows = [("gradients", self.why), (self.progress.loss_label, f"{self.misfit:.3g}")]
        if self.gradient_noise:
            rows.append(("noise of gradients", ", ".join(f"{name} {100 * value:.2g} %" for name, value in self.gradient_noise.items())))
        if np.isfinite(self.effective_size):
            paths = f"means are worth those of {self.effective_size:.3g} plain paths"
            share = f"{100 * self.effective_size:.2g} % of the particles at least"
            rows.append(("effective sample size", share if self.effective_size < 1 else paths))
        words = {True: "cannot be told", False: "not determined"}
        rows += [("determined" if one.is_determined else words[one.is_noisy], one.text) for one in self.directions]
        return Table(("what", "found"), rows + [("warning", text) for text in self.warnings])

    def pilot_table(self) -> Table:
        """The measurements behind the choice of the estimator; without rows where there was no pilot."""
        return show(list(self.pilot)) if self.pilot else Table(("estimator",), [])

    def __repr__(self) -> str:
        return f"{self.table()!r}\n\n{self.diagnosis()!r}"


def intervals_of(names: tuple[str, ...], logs: np.ndarray, covariance: np.ndarray, *, freedom: float = np.inf) -> tuple[dict, dict, dict]:
    """Estimates, standard errors of their logarithms, and 95 % intervals by Student's t with `freedom` degrees of freedom, by name."""
    errors = np.sqrt(np.maximum(np.diag(covariance), 0))
    reach = quantile(freedom) * errors
    with np.errstate(over="ignore"):
        low, high = np.exp(logs - reach), np.exp(logs + reach)
    values: Mapping[str, np.ndarray] = {"estimate": np.exp(logs), "error": errors}
    ranges = {name: (float(low[p]), float(high[p])) for p, name in enumerate(names)}
    return *({name: float(values[key][p]) for p, name in enumerate(names)} for key in ("estimate", "error")), ranges


def half_widths(data: Moments) -> np.ndarray:
    """Of 95 % intervals of the means [T, S], by Student's t; NaN of fewer than two counts."""
    errors = np.where(data.standard_errors == 0, least_error(np.nan_to_num(data.means), data.numbers), data.standard_errors)
    return quantile(np.maximum(data.numbers - 1, 1)) * errors


def largest_misfit(number: int, freedom: float) -> float:
    """What the mean square of residuals of a right model hardly exceeds: 2 + 4 √(2/D) of D moments, or 99.9 % of Snedecor's F if that is more."""
    from scipy import stats

    return max(2 + 4 * float(np.sqrt(2 / number)), float(stats.f.ppf(0.999, number, freedom)))


def quantile(freedom: Any) -> Any:
    """97.5 % of Student's t."""
    from scipy import stats

    return stats.t.ppf(0.975, freedom)
