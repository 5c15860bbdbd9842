"""A model read from SBML: a network with its parameters, initial counts and events, ready to be simulated, differentiated and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from ssagrad.ensemble import Ensemble
from ssagrad.network import Network
from ssagrad.sbml import simulation, writing
from ssagrad.sbml.antimony_text import to_antimony
from ssagrad.sbml.clock import Comparison
from ssagrad.sbml.events import HIDDEN, Event, reader
from ssagrad.sbml.expressions import Expression, SbmlError, evaluate
from ssagrad.sbml.symbols import initial_values, whole_numbers


@dataclass(frozen=True)
class Formula:
    """A function of (counts by name, parameters): what a kinetic law or a rule says, in JAX. Equal formulas are equal, and share what is compiled.

    timed: it belongs to a model with events that time can turn, which only `Model.simulate` follows; anywhere else it is an error.
    """

    expression: Expression
    timed: bool = False

    def __call__(self, counts: Mapping[str, Any], parameters: Any) -> jax.Array:
        """The value: a scalar from scalars."""
        if self.timed and HIDDEN not in parameters:
            raise SbmlError("this network belongs to a model with events at times, which would be left out here: use Model.simulate")
        value = jnp.asarray(evaluate(self.expression, reader(counts, parameters)))
        return jnp.where(value, 1.0, 0.0) if value.dtype == bool else value

    def __str__(self) -> str:
        return writing.formula_text(self.expression)


@dataclass(frozen=True, eq=False)
class Model:
    """What an SBML document says, as exact simulation needs it.

    Attributes:
        name: of the document.
        network: species and reactions. Kinetic laws that are stochastic mass action are read as such, all others are functions.
        parameters: values by name [units of the document]: global parameters, `reaction_k` for the local parameter k of a reaction, sizes of
            compartments, and species that are constant or on the boundary (amount or concentration, as the document gives it; events may assign
            them). Replace any of them: `model.parameters | {"k": 2.0}`.
        initial_counts: molecules of each species of the network at time 0.
        events: as read; a trigger that time can turn needs `Model.simulate` (the network alone then is an error), the others are part of the network.
        compartments: sizes by id, of those that have one.
        observables: functions of (counts, parameters) by name: variables of assignment rules, amounts of species that are not counted, and
            `[X]` for the concentration of the species X.
        initial: amounts at time 0 as formulas of parameters.
        comparisons: what triggers compare with time.
        variables: what events assign and is no count, by its column in the network (which holds the difference to its first value).
        source: the text of the document.
    """

    name: str
    network: Network
    parameters: dict[str, float]
    initial_counts: dict[str, int]
    events: tuple[Event, ...]
    compartments: dict[str, float]
    observables: dict[str, Formula]
    initial: dict[str, Expression] = field(repr=False)
    comparisons: tuple[Comparison, ...] = field(repr=False)
    variables: dict[str, tuple[str, Expression]] = field(repr=False)
    source: str = field(repr=False)

    def simulate(
        self, key: jax.Array, times: Any, *, num_paths: int, parameters: Mapping[str, Any] | None = None, initial_counts: Any = None, **options: Any
    ) -> Ensemble:
        """Samples exact paths from time 0 on, events included, and observes them at given times.

        Without events this is `ssagrad.simulate`, number for number. An event that fires at an observation time shows its effect there, unless
        its trigger is strict (`time > 25`). Variables that events assign appear among the species of the ensemble, with their values.

        Args:
            key: a JAX key, or one key per path [num_paths].
            times: observation times [T], increasing, from 0 on [units of the document].
            num_paths: how many paths.
            parameters: values that replace those of the model (not named: as in the model).
            initial_counts: a mapping from species to molecules (not named: as in the model), or [S], or [num_paths, S].
            options: as `ssagrad.simulate`; `max_events` counts from each time at which an event may fire, and models with events know no
                `start_time`, no clock="events", and no on_exhausted but "raise".

        Returns:
            Ensemble of num_paths paths.

        Raises:
            SbmlError, NetworkError: impossible parameters, counts or options. SimulationError: paths that failed.
        """
        parameters = self.complete(parameters)
        counts = self.counts_at_start(parameters, initial_counts)
        return simulation.simulate_model(self, key, parameters, counts, times, num_paths=num_paths, **options)

    def complete(self, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """All parameters, those named replaced; SbmlError for names that the model does not have."""
        given = dict(parameters or {})
        if unknown := sorted(set(given) - set(self.parameters)):
            raise SbmlError(f"unknown parameters {unknown}; the model has {sorted(self.parameters)}")
        return self.parameters | given

    def counts_at_start(self, parameters: Mapping[str, Any] | None = None, initial_counts: Any = None) -> Any:
        """Initial counts for these parameters: what initial assignments and volumes make of them, then what is named.

        A mapping by species, or `initial_counts` itself if that is an array.
        """
        if initial_counts is not None and not isinstance(initial_counts, Mapping):
            return initial_counts
        counts, given = dict(self.initial_counts), dict(initial_counts or {})
        known = not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(parameters))
        if parameters is not None and known:
            counts |= whole_numbers(initial_values(self.initial, self.complete(parameters)))
        if unknown := sorted(set(given) - set(counts)):
            raise SbmlError(f"unknown species {unknown} in the initial counts; the model counts {list(self.network.species)}")
        return counts | given

    def observable(self, name: str, parameters: Mapping[str, Any] | None = None) -> Callable[[dict[str, jax.Array]], jax.Array]:
        """An observable as `Ensemble.mean` and its relatives take it, `paths.mean(model.observable("[X]"))`, at these parameters; or a species."""
        seen = [self.variables[column][0] if column in self.variables else column for column in self.network.species]
        if name in seen:
            return lambda counts: counts[name]
        if name not in self.observables:
            raise SbmlError(f"unknown observable '{name}'; the model has {sorted(self.observables)}, and its species {seen}")
        formula, values = self.observables[name], self.complete(parameters)
        return lambda counts: formula(counts, values)

    @property
    def propensities(self) -> dict[str, Callable]:
        """The functions among the propensities by the name that they have in `to_text`: what `Network.from_text` needs besides it."""
        return {reaction.rate: reaction.propensity for reaction in self.network.reactions if reaction.propensity is not None}

    def to_text(self) -> str:
        """The reactions as `Network.from_text(model.to_text(), propensities=model.propensities)` reads them.

        Raises:
            SbmlError: events or stoichiometries that are formulas, which reaction text cannot say.
        """
        if self.events or any(reaction.change is not None for reaction in self.network.reactions):
            raise SbmlError("reaction text has no words for events and for stoichiometries that are formulas; keep the model as SBML (Model.to_sbml)")
        return writing.network_text(self.network)

    def to_sbml(self, parameters: Mapping[str, Any] | None = None) -> str:
        """The document as it was read, with the values of these parameters."""
        return writing.document_text(self.source, self.complete(parameters), self.parameters)

    def to_antimony(self, parameters: Mapping[str, Any] | None = None) -> str:
        """The model in Antimony, with the values of these parameters; needs the package antimony."""
        return to_antimony(self.to_sbml(parameters))

    def __str__(self) -> str:
        return writing.model_text(self)

    def _repr_latex_(self) -> str:
        return writing.model_latex(self)
