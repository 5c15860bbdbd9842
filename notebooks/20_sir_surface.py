# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The loss of an epidemic model can be descended on a logarithmic scale, and not on a linear one
#
# A stochastic SIR model is fitted to its own mean trajectory. The loss over its two rates is lowest at the truth. Seen on
# linear axes it is a cliff beside a plateau; seen on logarithmic axes it is a basin that gradient descent walks down from anywhere.

# %% [markdown]
# **Question.** Kreikemeyer, Andelfinger and Uhrmacher (2024, arXiv 2404.07049, Fig. 1 and Sec. 5.1) show the response surface of the SIR model
# before and after a logarithmic reparametrisation of its rate constants. Does that reparametrisation decide whether descent arrives?
#
# **Method.** The loss of one simulated path is its mean absolute distance to the reference, relative to each species' maximum. We average it over
# replications on a grid, then descend with Adam along Polyak-smoothed gradients (random directions, forward differences, common random numbers),
# with the same settings on both scales.
#
# **What to look for.** The star (truth) in the darkest spot of both panels; descents (coloured lines) that wander off in the left panel and reach the star in
# the right one.
#
# **Runtime.** Quick about 40 s, paper about 4 minutes, on two cores.

# %%
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from ssagrad import fitting, models, plots, publish, simulate
from ssagrad.statistics import standard_error
from ssagrad.surface import response_surface

# %% tags=["parameters"]
profile = "quick"  # "quick" or "paper": where the results go
seed = 20  # every random number comes from it
horizon = 1.0  # observed time, in the time unit of the rates
num_times = 101  # observations, equally spaced
grid_points = 24  # per axis of the response surface
num_replications = 50  # paths per grid point
num_reference = 2000  # paths whose mean is the reference trajectory
num_steps = 300  # steps of each descent
num_pairs = 50  # pairs of paths (reference, perturbed) per gradient
sigmas = [0.05]  # smoothing, in the units of the scale that is descended
learning_rates = [0.02, 0.1]  # of Adam
shown = [0.05, 0.02]  # the smoothing and the learning rate whose descents are drawn
starts = {"low rates": [0.001, 1.0], "high rates": [0.08, 18.0], "fast infection": [0.09, 1.0]}  # infection, recovery
slice_points = 60  # points of the slices that compare fresh and common random numbers

# %% [markdown]
# ## The model
#
# Infection and recovery by mass action; 20 of 2,000 people are infected at first.

# %%
sir = models.sir()
sir.network

# %%
keys = jax.random.split(jax.random.key(seed), 6)
times = np.linspace(0, horizon, num_times)
reference = simulate(keys[0], *sir[:3], times, num_paths=num_reference)
distance = partial(fitting.relative_distance, target=reference.mean())
settings = {"grid_points": grid_points, "num_replications": num_replications, "num_steps": num_steps, "num_pairs": num_pairs}
report = publish.Report("20_sir_surface", profile=profile, seed=seed, parameters=settings | {"sigmas": sigmas, "learning_rates": learning_rates})
report.figure(
    reference.plot(),
    "epidemic",
    caption="The epidemic: means over all paths, the range of 90 % of them, and six single paths.",
    alt="Susceptible people vanish within half a time unit, infected people rise to a peak and decline, recovered people accumulate.",
)

# %% [markdown]
# ## The loss, and its value at the truth
#
# $$L(\theta) = \mathbb E\;\frac{1}{T S}\sum_{t,s}\frac{|X_s(t) - y_s(t)|}{\max_t y_s(t)}$$
#
# $y$ is the reference trajectory, and the expectation is over single paths $X$: so the true rates too have a positive loss, the stochasticity of the
# model. The paper gives about 0.01 for it. Its own formula is not known to us; among the common distances, this one comes out there.

# %%
at_truth = distance(simulate(keys[1], *sir[:3], times, num_paths=num_reference).counts)
report.value("loss_at_truth", at_truth.mean(), standard_error=standard_error(at_truth), unit="1")

# %% [markdown]
# ## The surface on both scales

# %%
truth = np.array([sir.parameters[name] for name in ("infection", "recovery")])
decode = {
    "linear": lambda theta: jax.tree.map(lambda rate: jnp.maximum(rate, 0), theta),
    "logarithmic": lambda theta: jax.tree.map(lambda exponent: 10**exponent, theta),
}
grids = {
    "linear": {"infection": np.linspace(0, 0.2, grid_points), "recovery": np.linspace(0, 20, grid_points)},
    "logarithmic": {"infection": np.linspace(-4, 0, grid_points), "recovery": np.linspace(-1, 2, grid_points)},
}
task = {"network": sir.network, "initial_counts": sir.initial_counts, "times": times}
surface_over = partial(response_surface, **task, loss=distance, num_replications=num_replications)
surfaces = {
    scale: surface_over(keys[2], grid=grids[scale], decode=decode[scale], progress=partial(tqdm, desc=f"{scale} surface")) for scale in grids
}

# %% [markdown]
# ## Descents on both scales
#
# Three starts, every combination of smoothing and learning rate. Where a descent ends is the mean of the last tenth of its iterates; the loss there is measured
# afresh, without smoothing.

# %%
first = np.array(list(starts.values()), np.float32)
begin = {"linear": dict(zip(sir.parameters, first.T)), "logarithmic": dict(zip(sir.parameters, np.log10(first).T))}
descents, final_loss = {}, {}
for scale, sigma, rate in tqdm([(scale, sigma, rate) for scale in decode for sigma in sigmas for rate in learning_rates], desc="descents"):
    loss = fitting.smoothed_loss(**task, distance=distance, num_pairs=num_pairs, sigma=sigma, decode=decode[scale])
    run = fitting.descend(keys[3], loss, begin[scale], optimizer=optax.adam(rate), num_steps=num_steps)
    end = jax.tree.map(lambda leaf: jnp.repeat(leaf[:, -num_steps // 10 :].mean(1), num_replications), run.parameters)
    total = len(starts) * num_replications
    crisp = simulate(keys[4], parameters=decode[scale](end), num_paths=total, parameters_per_path=True, **task)
    final_loss[scale, sigma, rate] = np.asarray(distance(crisp.counts)).reshape(len(starts), num_replications)
    descents[scale, sigma, rate] = np.stack([run.parameters[name] for name in ("infection", "recovery")], axis=-1)

# %%
labels = {"linear": ("infection rate", "recovery rate"), "logarithmic": ("log₁₀ infection rate", "log₁₀ recovery rate")}
star = {"linear": tuple(truth), "logarithmic": tuple(np.log10(truth))}
planes = [
    plots.Plane(*grids[scale].values(), surface.mean, *labels[scale], star[scale], dict(zip(starts, descents[scale, *shown])))
    for scale, surface in surfaces.items()
]
report.figure(
    plots.response_surfaces(planes, loss_label="mean loss of a path", largest=0.66),
    "surface",
    caption="Mean loss over the two rates (per time unit), darker where it is lower, on linear (a) and on logarithmic axes (b); the star is the truth. "
    "Lines: Adam with smoothed gradients from the same three starts (open circles) to where it ends (filled), same settings on both scales.",
    alt="Left: a steep cliff at small infection rates beside a plateau, descents end far from the star. Right: a basin, all descents end at the star.",
)

# %% [markdown]
# ## Common random numbers
#
# Replication $i$ may use the same random stream at every grid point, or a fresh one. The law is the same; the surface is not equally rough.
# Roughness is the root mean square of second differences along a fine slice, one slice per recovery rate.

# %%
fine = {"recovery": np.linspace(3.0, 8.0, 11), "infection": np.linspace(0.015, 0.03, slice_points)}
fresh, common = (surface_over(keys[5], grid=fine, common_random_numbers=choice) for choice in (False, True))
roughness = [np.sqrt((np.diff(surface.mean, 2, axis=1) ** 2).mean(1)) for surface in (fresh, common)]
smoother = roughness[0] / roughness[1]
at_five = {f"{name} random numbers": (s.mean[4], 2 * s.standard_error[4]) for name, s in (("fresh", fresh), ("common", common))}
report.figure(
    plots.curves([(fine["infection"], at_five)], x_label="infection rate (per time unit)", y_label="mean loss of a path"),
    "random_numbers",
    caption="A slice through the surface at the true recovery rate. Common random numbers shift the whole curve, fresh ones every point by itself.",
    alt="Two curves with a minimum near 0.02; the one with fresh random numbers is jagged, the one with common random numbers smooth.",
)

# %% [markdown]
# ## Verdict

# %%
best = np.unravel_index(np.argmin(surfaces["logarithmic"].mean), (grid_points, grid_points))
offset = max(abs(axis[i] - x) / (axis[1] - axis[0]) for axis, i, x in zip(grids["logarithmic"].values(), best, np.log10(truth)))
linear = min((values for (scale, *_), losses in final_loss.items() if scale == "linear" for values in losses), key=np.mean)
arrived = max(final_loss["logarithmic", *shown], key=np.mean)
claim = partial(report.claim, source="Kreikemeyer et al. 2024, Sec. 5.1 (settings: ours)")
claim("sir.loss-at-truth", source="Kreikemeyer et al. 2024, Fig. 2", kind="our reading",
      says="The true model's loss is about 0.01 (with our choice of distance).",
      measured=at_truth.mean(), standard_error=standard_error(at_truth), criterion="0.008 < loss < 0.012", holds=bool(0.008 < at_truth.mean() < 0.012))  # fmt: skip
claim("sir.lowest-at-truth", source="Kreikemeyer et al. 2024, Fig. 1", says="On logarithmic axes the lowest loss lies at the true rates.",
      measured=offset, unit="grid cells", criterion="the lowest grid point is at most 1.5 cells from the truth", holds=bool(offset <= 1.5))  # fmt: skip
claim("sir.log-scale-arrives", says="On the logarithmic scale, smoothed gradient descent reaches the truth from every start.",
      measured=arrived.mean(), standard_error=standard_error(arrived), criterion="largest final loss of the drawn descents < 0.02",
      holds=bool(arrived.mean() < 0.02))  # fmt: skip
claim("sir.linear-scale-sticks", says="On the linear scale none of the settings tried gets there within the same number of steps.",
      measured=linear.mean(), standard_error=standard_error(linear), criterion="smallest final loss of all descents > 0.05",
      holds=bool(linear.mean() > 0.05))  # fmt: skip
claim("sir.common-random-numbers", source="this project", kind="beyond", says="Common random numbers make the surface at least twice as smooth.",
      measured=smoother.mean(), standard_error=standard_error(smoother), unit="times", criterion="ratio of roughness > 2",
      holds=bool(smoother.mean() > 2))  # fmt: skip
report.numbers()

# %%
report.verdict()

# %% [markdown]
# ## Limits
#
# The paper's loss, horizon, ranges and optimiser settings are not known to us and are declared above. One observed model with two parameters says nothing yet about
# learning which reactions there are. Smoothing with standard deviation σ moves the minimum by O(σ²): in the logarithmic parameters with σ = 0.1 the final loss is
# a little above that of the truth. On the linear scale one σ and one learning rate serve both rates, as on the logarithmic one; scaling each rate by hand was not tried.
