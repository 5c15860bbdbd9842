"""ssagrad itself, called as a user calls it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from ssagrad import Network, simulate
from systems import System

from .outcome import Outcome


def build(system: System) -> Network:
    """The network: mass action by the name of its rate, other laws as functions of counts and parameters."""
    text, laws = [], {}
    for reaction in system.reactions:
        text.append(f"{reaction.text} @ {reaction.rate or reaction.name}")
        if reaction.law is not None:
            laws[reaction.name] = _propensity(reaction.law)
    return Network.from_text("; ".join(text), species=system.species, propensities=laws)


def _propensity(law: str):
    code = compile(law, law, "eval")
    return lambda counts, parameters: eval(code, {}, {**counts, **parameters})


def prepare(system: System, num_paths: int):
    """A call of `simulate`, its counts copied to the host."""
    network = build(system)
    times = jnp.array(system.times)

    def run(seed: int) -> Outcome:
        key = jax.random.key(seed)
        paths = simulate(key, network, system.parameters, system.start, times, num_paths=num_paths)
        return Outcome(counts=np.asarray(paths.counts), events=int(np.asarray(paths.num_events).sum(dtype=np.int64)))

    return run
