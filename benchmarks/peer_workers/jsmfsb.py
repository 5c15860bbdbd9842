"""jsmfsb: jitted vmap of `sim_time_series` over a stochastic Petri net's `step_gillespie`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jsmfsb import Spn, sim_time_series
from systems import NUM_TIMES, System, propensity_function

from .outcome import Outcome


def prepare(system: System, num_paths: int):
    """One compiled function of the keys; the end lies half a step late because jsmfsb rounds the number of steps down."""
    propensities = propensity_function(system, jnp.stack)
    net = Spn(
        list(system.species),
        [reaction.name for reaction in system.reactions],
        [[reaction.reactants.get(s, 0) for s in system.species] for reaction in system.reactions],
        [[reaction.products.get(s, 0) for s in system.species] for reaction in system.reactions],
        lambda counts, _: propensities(counts),
        list(system.start.values()),
    )
    step = net.step_gillespie()
    timestep = system.horizon / (NUM_TIMES - 1)
    end = system.horizon + timestep / 2

    @jax.jit
    def batch(key):
        keys = jax.random.split(key, num_paths)
        return jax.vmap(lambda key: sim_time_series(key, net.m, 0.0, end, timestep, step))(keys)

    return lambda seed: Outcome(counts=np.asarray(batch(jax.random.key(seed))))
