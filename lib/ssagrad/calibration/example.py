"""A model and counts made with known rates: outbreaks in small groups, of which the ill and the dead are counted and the others are not."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from ssagrad.calibration.choice import check_options
from ssagrad.calibration.experiments import as_problem
from ssagrad.calibration.model_text import CalibrationError, ModelText, model_from_text, read_model
from ssagrad.calibration.targets import targets_of
from ssagrad.observations import Observations
from ssagrad.simulate import simulate

TEXT = """
S + I -> 2 I @ infection
I -> R @ recovery
I -> D @ death
infection = {infection}       # first guesses
recovery = 1
death = 0.5
I(0) = {ill}
S(0) = {small}
[large groups]
S(0) = {large}
"""
CONTACTS, RECOVERY, DEATH = 1.6, 0.6, 0.3  # contacts: infection rate times susceptible people in large groups
TIMES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_SEEN = 3  # of these times, in each group


class Example(NamedTuple):
    """A model, counts, and the rates that made these (none if nobody knows)."""

    model: ModelText
    observations: Observations
    truth: dict[str, float]


def model_and_data(model: str, data: str, *, seed: int, noisy: bool = False, **sizes: int) -> Example:
    """What a report is made from: the files of a user, or, where both names are empty, an example of that size made on the spot.

    Args:
        model, data: paths. noisy: counts with measurement errors. sizes: of `outbreaks`.

    Raises:
        CalibrationError: one name without the other. What reading the files raises.
    """
    if not model and not data:
        return outbreaks(seed, **sizes)
    if not model or not data:
        raise CalibrationError(f"expected a model and data, or neither (for an example), received model={model!r}, data={data!r}")
    return Example(read_model(model), Observations.read(data, noisy=noisy), {})


def names_of(text: str, model: Any) -> tuple[str, ...]:
    """Names separated by commas. If there are none: rate constants, and what laws that are no mass action read, where these can be looked into.

    Of an SBML model, sizes of compartments, species that no reaction changes, and parameters from which initial counts are computed are left out.
    """
    if given := tuple(name.strip() for name in text.split(",") if name.strip()):
        return given
    laws = [reaction.propensity for reaction in model.network.reactions if reaction.propensity is not None]
    if any(not hasattr(law, "expression") for law in laws):
        return tuple(model.parameters)
    read, kept = set(model.network.parameter_names), set()
    if hasattr(model, "initial"):
        from ssagrad.sbml.expressions import leaves

        read = read.union(*(leaves(law.expression, "parameter") for law in laws))
        kept = {*model.compartments, *model.observables}.union(*(leaves(formula, "parameter") for formula in model.initial.values()))
    return tuple(name for name in model.parameters if name in read - kept) or tuple(model.parameters)


def outbreaks(seed: int, *, people: int = 20, num_groups: int = 150, species: tuple[str, ...] = ("I", "D")) -> Example:
    """Groups of two sizes, each visited at three of seven times.

    Args:
        people: susceptible at first, in large groups; half as many in the others. num_groups: of each size. species: that are counted.
    """
    model = model_from_text(TEXT.format(small=people // 2, large=people, infection=1 / people, ill=max(2, people // 20)))
    truth = {"infection": CONTACTS / people, "recovery": RECOVERY, "death": DEATH}
    rows: dict[str, list] = {"time": [], "replicate": [], "species": [], "count": [], "condition": []}
    random = np.random.default_rng(seed)
    for number, (condition, susceptible) in enumerate((("small groups", people // 2), ("large groups", people))):
        start = model.initial_counts | {"S": susceptible}
        key = jax.random.fold_in(jax.random.key(seed), number)
        paths = simulate(key, model.network, truth, start, np.array(TIMES), num_paths=num_groups)
        for group in range(num_groups):
            for k in np.sort(random.choice(len(TIMES), _SEEN, replace=False)):
                for name in species:
                    count = int(paths.samples(name)[group, k])
                    for column, value in zip(rows, (TIMES[k], f"{condition} {group}", name, count, condition), strict=True):
                        rows[column].append(value)
    return Example(model, Observations.from_table(rows), truth)


def check_files(model: str, data: str, free: str, *, noise: float = 0.0, estimator: str = "auto", seed: int = 0, **sizes: int) -> None:
    """Reads a user's files and refuses what cannot be fitted, before anything is computed.

    Args:
        sizes: num_starts and num_paths, as `calibrate.fit` takes them.

    Raises:
        CalibrationError, ObservationsError, NetworkError or SbmlError, all of them ValueErrors; OSError, ImportError.
    """
    check_options(estimator=estimator, seed=seed, noise=noise if noise != 0 else None, **sizes)
    found = model_and_data(model, data, seed=0, noisy=noise > 0, num_groups=2)
    problem = as_problem(found.model, found.observations, names_of(free, found.model))
    if not noise:
        targets_of(problem)
