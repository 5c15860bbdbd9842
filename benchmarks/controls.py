"""What else was tried for Dynkin controls: pilots, strata, degrees, other features, a small value network; what each one brings.

    make bench BENCH=controls, or python benchmarks/controls.py [--paths 4000] [--repetitions 4] [--output FILE.md]

Three networks on which polynomials describe the value function well (Hill repressilator), fairly (SIR) and poorly (repressilator with
promoter states). Each row changes one thing of `dynkin_controls`; variance and variance × seconds are those of the score function
(leave-one-out baseline) over its own.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import report
from ssagrad import models, simulate
from ssagrad.estimators import compare, dynkin_controls, forked_path, gain, score_function, truth
from ssagrad.features import Features

REFERENCE = "score function"
HIDDEN, STEPS, BATCH, PILOT = 24, 800, 4096, 1024  # of the value network, and of its training


@dataclass(frozen=True)
class Extended(Features):
    """The network's own features and others, functions of standardised variables [V, ...] → [H, ...]."""

    extra: Callable[[jax.Array], jax.Array]
    num_extra: int
    in_pairs = False

    @property
    def size(self) -> int:
        """J with the others."""
        return super().size + self.num_extra

    def products(self, standardised: jax.Array) -> jax.Array:
        """The products, then the others."""
        return jnp.concatenate([super().products(standardised), self.extra(standardised)])


@dataclass(frozen=True)
class Curved(Features):
    """Some function of each count as a further variable, which enters all products."""

    curve: Callable[[jax.Array], jax.Array]
    in_pairs = False

    @property
    def num_variables(self) -> int:
        """V with a curve of each species."""
        return super().num_variables + len(self.species)

    def variables(self, counts: tuple, parameters: Any) -> jax.Array:
        """Species and laws, then the curves."""
        return jnp.concatenate([super().variables(counts, parameters), jnp.stack([self.curve(counts[s]) for s in self.species])])


for kind in (Extended, Curved):
    jax.tree_util.register_static(kind)


def with_features(features: Features) -> Callable:
    """`dynkin_controls` with features of one's own."""

    def estimator(*arguments, **options):
        with mock.patch.object(Features, "of_network", return_value=features):
            return dynkin_controls(*arguments, **options)

    return estimator


def hidden_units(key: jax.Array, case: tuple, features: Features, *, trained: bool) -> Extended:
    """Units tanh(W z + b), random or trained so that a readout of their own for each stratum predicts f(x_T) from x_t."""
    network, parameters, initial_counts, horizon, species = case
    times = np.linspace(0, horizon, 17)
    paths = simulate(key, network, parameters, initial_counts, times, num_paths=PILOT)
    target = paths.samples(species)[:, -1]
    target = (target - target.mean()) / target.std()
    states = paths.counts[:, 1:-1]
    variables = features.variables(tuple(jnp.moveaxis(states, -1, 0).reshape(len(network.species), -1)), parameters)
    spread = variables.std(1, keepdims=True)
    z = ((variables - variables.mean(1, keepdims=True)) / jnp.where(spread > 0, spread, 1)).reshape(len(variables), PILOT, -1)
    keys = jax.random.split(jax.random.fold_in(key, 1), 3)
    weights = {"in": jax.random.normal(keys[0], (HIDDEN, len(z))) / len(z) ** 0.5, "bias": jax.random.normal(keys[1], (HIDDEN,))}
    weights["out"] = jnp.zeros((z.shape[2], HIDDEN + len(z) + 1))

    def loss(weights, rows):
        some = z[:, rows]
        hidden = jnp.tanh(jnp.einsum("hv,vnw->hnw", weights["in"], some) + weights["bias"][:, None, None])
        columns = jnp.concatenate([hidden, some, jnp.ones_like(some[:1])])
        return ((jnp.einsum("wj,jnw->nw", weights["out"], columns) - target[rows][:, None]) ** 2).mean()

    optimiser = optax.adam(optax.cosine_decay_schedule(1e-2, STEPS))

    def step(carry, key):
        weights, state = carry
        updates, state = optimiser.update(jax.grad(loss)(weights, jax.random.randint(key, (BATCH // z.shape[2],), 0, PILOT)), state)
        return (optax.apply_updates(weights, updates), state), None

    if trained:
        train = jax.jit(lambda carry: jax.lax.scan(step, carry, jax.random.split(keys[2], STEPS))[0])
        weights = train((weights, optimiser.init(weights)))[0]
    inner, bias = weights["in"], weights["bias"]

    def extra(standardised):
        flat = standardised.reshape(len(standardised), -1)
        return jnp.tanh(inner @ flat + bias[:, None]).reshape(HIDDEN, *standardised.shape[1:])

    return Extended(features.network, features.species, features.laws, features.degree, features.totals, extra, HIDDEN)


def variants(case: tuple, num_paths: int) -> dict[str, Callable]:
    """What is measured on a network, by name; the score function comes first."""
    network, parameters, initial_counts, horizon, _ = case
    usual = Features.of_network(network)
    curved = {"exp(−x/4)": lambda x: jnp.exp(-x / 4), "1/(1 + x)": lambda x: 1 / (1 + x)}
    pilot = dynkin_controls(jax.random.key(9), network, parameters, initial_counts, [horizon], num_paths=num_paths)
    found = {REFERENCE: score_function, "Dynkin controls as they are": dynkin_controls, "V from the last pilot": partial(dynkin_controls, pilot=pilot)}
    found |= {f"{n} pilot paths": partial(dynkin_controls, num_pilot=n) for n in (32, 2048)}
    found |= {f"{n} strata": partial(dynkin_controls, num_strata=n) for n in (4, 64)}
    found |= {f"degree {d} (usual: {usual.degree})": partial(dynkin_controls, degree=d) for d in (1, 2) if d != usual.degree}
    if usual.totals:
        found["no totals"] = with_features(replace(usual, totals=()))
    for name, curve in curved.items():
        found[f"{name} of each count, no totals"] = with_features(Curved(network, usual.species, usual.laws, min(usual.degree, 2), (), curve))
    for name, trained in (("random", False), ("trained", True)):
        units = hidden_units(jax.random.key(5), case, usual, trained=trained)
        found[f"{HIDDEN} hidden units as well, {name}"] = with_features(units)
    found["four forks"] = partial(forked_path, num_forks=4)
    return found


def main() -> int:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paths", type=int, default=4_000, metavar="N", help="of one gradient (4,000)")
    parser.add_argument("--repetitions", type=int, default=4, help="gradients by each estimator (4)")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the table there as well")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    sir = truth.problems()["SIR"]
    cases = {
        "Hill repressilator": (*models.hill_repressilator()[:3], 8.0, "P1"),
        "SIR": (*sir.model[:3], sir.horizon, sir.species),
        "promoter repressilator": (*models.promoter_repressilator()[:3], 8.0, "P1"),
    }
    cells: dict[str, dict[str, str]] = {}
    for number, (name, case) in enumerate(cases.items()):
        network, parameters, initial_counts, horizon, species = case
        chosen = variants(case, arguments.paths)
        size = {"num_paths": arguments.paths, "repetitions": arguments.repetitions}
        rows = compare(chosen, jax.random.key(number), network, parameters, initial_counts, [horizon], observable=species, **size)
        variance, efficiency = (gain(rows, REFERENCE, per=cost) for cost in ("path", "second"))
        for label in list(chosen)[1:]:
            label_of_all = label.partition(" (usual")[0]
            cells.setdefault(label_of_all, {})[name] = f"{variance[label]:.3g} / {efficiency[label]:.3g}"
            print(name, label, cells[label_of_all][name], file=sys.stderr, flush=True)
    lines = [["gain in variance / in variance × seconds", *cases]]
    lines += [[label, *(found.get(name, "as it is") for name in cases)] for label, found in cells.items()]
    machine = report.in_process(load, f"Warm calls, arrays on the host; median of {arguments.repetitions} interleaved rounds.")
    note = (
        f"{arguments.paths:,} paths, gradient of a mean at the last time, against the score function with leave-one-out baseline. Hidden units: {HIDDEN} "
        "tanh(W z + b) beside the polynomials, their readout chosen by the same regulator; trained, as a small value network: "
        f"{STEPS} steps of Adam on {PILOT:,} pilot paths, which are not counted as time. More strata sample the generator's integral more often along "
        "each path, which is what averaging over waiting times could bring: at physical times their law given the jump chain has no closed form.\n"
    )
    report.publish("What else was tried for Dynkin controls", [machine, report.table(lines), note], arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
