"""crn-jax: jitted vmap of its `simulate_trajectory`; pending reaction times carried across output intervals."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from crn_jax.gillespie import simulate_trajectory
from crn_jax.models._common import make_apply_reaction
from crn_jax.types import State
from systems import NUM_TIMES, System, propensity_function

from .outcome import Outcome


def prepare(system: System, num_paths: int):
    """One compiled function of the keys, as crn-jax's own batch simulator builds it."""
    propensities = propensity_function(system, jnp.stack)
    apply_reaction = make_apply_reaction(system.stoichiometry)
    start = jnp.array(list(system.start.values()), jnp.float32)
    timestep = system.horizon / (NUM_TIMES - 1)

    def one_path(key):
        state = State(time=jnp.array(0.0), x=start, next_reaction_time=jnp.array(jnp.inf))
        states = simulate_trajectory(
            key,
            state,
            timestep=timestep,
            n_steps=NUM_TIMES - 1,
            compute_propensities_fn=lambda state, _: propensities(state.x),
            apply_reaction_fn=apply_reaction,
        )
        return jnp.concatenate([start[None], states.x])

    @jax.jit
    def batch(key):
        return jax.vmap(one_path)(jax.random.split(key, num_paths))

    return lambda seed: Outcome(counts=np.asarray(batch(jax.random.key(seed))))
