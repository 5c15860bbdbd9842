# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A learned value function takes nearly all noise out of the score function, without bias
#
# The score function multiplies an observable by everything that happened before. Most of the observable is explained by where the path already
# was: by a value function. What that explains need not be multiplied by anything, and what is left over is small.

# %% [markdown]
# **Question.** How far does the variance of an unbiased gradient go down if an approximate value function, learned from a few pilot paths, is
# used as a control? For which networks, and where does that end?
#
# **Method.** Dynkin's formula, differentiated; value functions as a linear-quadratic control problem; exact gradients as the judge.
#
# **What to look for.** Lines on dots in the first figure, tiny bars on the dashed line in the second, stars far to the right in the third; and in
# the last, what brings the lines back down to one.
#
# **Reference.** Dynkin 1965, "Markov Processes"; Gupta and Khammash 2013, doi:10.1186/1471-2105-14-311; Milias-Argeitis, Lygeros and Khammash 2014,
# doi:10.1063/1.4886935. **Runtime.** Quick about 1 minute, paper about 8 minutes, on two cores.

# %%
from functools import partial

import jax
import numpy as np
from tqdm import tqdm

from ssagrad import estimators, models, plots, publish, simulate
from ssagrad.estimators import truth
from ssagrad.exact import MasterEquation
from ssagrad.tables import Table

# %% tags=["parameters"]
profile = "quick"  # "quick" or "paper": where the results go
seed = 35  # every random number comes from it
num_paths = 4096  # of one gradient
repetitions = 2  # gradients by each estimator and network
num_batches = 64  # groups of paths whose averages are the samples of Dynkin controls
num_starts = 5  # states from which the exact value function is computed
rivals = ["coupled difference, ± 5 %"]  # beside the score function and Dynkin controls
networks = ["association", "Schlögl"]  # among those below
horizons = {"repressilator, Hill": [4.0, 16.0]}  # where the paths of the last figure end
strata = [4, 16]  # random times per path
pilots = [64, 512]  # pilot paths

# %% [markdown]
# ## The idea in one page
#
# Let $x_t$ be the exact process with propensities $a_r(x;\theta)$ and jumps $\nu_r$, with generator
# $(L\varphi)(x) = \sum_r a_r(x)\,[\varphi(x+\nu_r)-\varphi(x)]$ and score $S_t = \partial_\theta \ln P(\text{path up to } t)$. The score function is
# $\partial_\theta E f(x_T) = E[f(x_T)\,S_T]$. For **any** function $V(x,t)$ Dynkin's formula says
#
# $$E f(x_T) = V(x_0, 0) + E[(f - V)(x_T)] + E \int_0^T (\partial_t + L)\,V(x_t,t)\,dt .$$
#
# The right side depends on $\theta$ through the law of the paths, and through $L$. Differentiate,
# with $\Gamma\varphi = \sum_r \partial_\theta a_r\,[\varphi(x+\nu_r)-\varphi(x)]$:
#
# $$\partial_\theta E f(x_T) = E\big[(f - V)(x_T)\,S_T\big] + E\int_0^T \big\{ (\partial_t + L)V \cdot S_t + \Gamma V \big\}(x_t,t)\,dt .$$
#
# This holds for every $V$: **no approximation makes it biased**. But if $V$ is near $E[f(x_T)\mid x_t]$, then $(\partial_t+L)V\approx 0$ and
# $V(\cdot,T)=f$: everything that the score multiplies vanishes. What stays is $\int \Gamma V$, of ordinary size, and a second value function takes
# most of that away in the same manner.
#
# **Which $V$?** Write $V=\varphi(x)\cdot c(t)$, with $\varphi$ all products of counts (and of rate laws that are not of mass action) up to a degree. Where
# species are so many that only products of two are affordable, $e^{-x/2}$ of each molecule that binds others is a factor as well, with $x$ its number
# whether bound or free: binding leaves that number alone, and the curve tells the first few molecules apart.
# What harms is the residual, and the variance of the score which multiplies it grows like $t$. So $c$ shall minimise
# $\int E[((\partial_t+L)\,\varphi\cdot c)^2]\,t\,dt$ with $c(T)=c_f$ given: a linear-quadratic regulator, backwards in time. A few pilot paths give
# the averages of $\varphi\varphi^\top$, $\varphi\,L\varphi^\top$ and $L\varphi\,L\varphi^\top$; one Riccati recursion gives $V$ of **all** observables at all
# times. Where rates are linear, $V$ is exact. Elsewhere the regulator lets $V$ forget what it cannot describe.
#
# **Cost.** One random state per path and stratum of time samples the integral. As $V$ is linear in $c$, averages over paths of $\varphi$, $L\varphi$ and
# $\Gamma\varphi$, weighted by 1 and by $S$, serve every observable and parameter. Pilot paths are never averaged, and a blend with the plain score
# function, with shares from other batches of paths, guards against a poor $V$.

# %% [markdown]
# ## The value function
#
# Schlögl's system has two stable states. Its value function bends between them, and no polynomial closes.

# %%
keys = jax.random.split(jax.random.key(seed), 6)
problems = truth.problems()
schloegl, T = problems["Schlögl"].model, problems["Schlögl"].horizon
paths = estimators.dynkin_controls(keys[0], *schloegl[:3], [T], num_paths=num_paths)
nodes, end = np.asarray(paths.controls.nodes), paths.counts[:, -1]
shown = {f"{T - nodes[-1 - k]:.3g}": -1 - k for k in (1, 4, 12)}  # limits of strata
before = simulate(keys[3], *schloegl[:3], np.sort(nodes[list(shown.values())]), num_paths=num_paths).quantile(np.array([0.005, 0.995]), "X")
ranges = dict(zip(reversed(shown), np.asarray(before).T))
x = {label: np.linspace(*ends, 60, dtype=np.float32) for label, ends in ranges.items()}
learned = {label: (x[label], paths.controls.value_function(end, end, x[label][:, None])[node, :, 0]) for label, node in shown.items()}
starts = {label: np.linspace(*ends, num_starts).round() for label, ends in ranges.items()}
solve = partial(MasterEquation.solve, parameters=schloegl.parameters)
laws = {label: [MasterEquation.build(schloegl.network, {"X": n}, bounds={"X": 1000}) for n in starts[label]] for label in shown}
exactly = {label: (starts[label], [solve(law, times=[T - nodes[node]]).mean("X")[0] for law in laws[label]]) for label, node in shown.items()}
sizes = {"num_paths": num_paths, "repetitions": repetitions, "networks": networks, "horizons": str(horizons), "strata": strata, "pilots": pilots}
report = publish.Report("35_dynkin_controls", profile=profile, seed=seed, parameters=sizes)
report.figure(
    plots.value_functions(learned, exactly, x_label="molecules of X now", y_label="expected molecules of X at the end"), "value",
    caption="Schlögl's system: expected number at the end, given the number now, for three times to go; each where 99 % of the paths are by then.",
    alt="Three learned lines follow the exact dots: a nearly straight one shortly before the end, a bent one, and a short steep one long before.",
)

# %% [markdown]
# ## Unbiased, whatever V
#
# The same gradients with better and worse value functions: the one that is learned by default, one of degree one only, one from 16 pilot paths, and
# one that was learned at rates that are off by a factor of two. All agree with the exact gradient; only their noise differs.

# %%
case = problems["association"]
network, theta, start = case.model[:3]
other_rates = {p: rate * factor for (p, rate), factor in zip(theta.items(), (2.0, 0.5))}
elsewhere = estimators.dynkin_controls(keys[1], network, other_rates, start, [case.horizon], num_paths=512)
variants = {
    "score function": estimators.score_function,
    "V of other rates": partial(estimators.dynkin_controls, num_batches=num_batches, pilot=elsewhere),
    "V of degree 1": partial(estimators.dynkin_controls, num_batches=num_batches, degree=1),
    "V from 16 pilot paths": partial(estimators.dynkin_controls, num_batches=num_batches, num_pilot=16),
    "Dynkin controls": partial(estimators.dynkin_controls, num_batches=num_batches),
}
at = {"observable": case.species, "num_paths": num_paths, "repetitions": repetitions, "timed": False}
judged = estimators.compare(variants, keys[2], network, theta, start, [case.horizon], master=case.master(), **at)
estimators.show(judged, reference="score function")

# %%
bars = {p: {r.estimator: (r.gradient, r.standard_error) for r in judged if r.parameter == p} for p in theta}
panels = {p: (next(r.exact for r in judged if r.parameter == p), bars[p]) for p in theta}
report.figure(
    plots.estimates(panels, x_label="derivative of the mean,\nin the logarithm"), "unbiased",
    caption=f"Association: gradients from {repetitions * num_paths:,} paths with value functions of different quality, against the exact ones.",
    alt="All bars cover the dashed lines; they shrink from the score function at the top to Dynkin controls at the bottom.",
)

# %% [markdown]
# ## What it brings
#
# Efficiency $1/(\text{variance} \times \text{events per path})$, as a multiple of that of the score function with its leave-one-out baseline. Events of
# second paths count, those of the pilot do not. An event is not a second: sampling the integral costs as well, and
# `reports/benchmark_efficiency.md` has the seconds.

# %%
every = {name: (*problem.model[:3], problem.horizon, problem.species, problem.options) for name, problem in problems.items()}
every["repressilator, Hill"] = (*models.hill_repressilator()[:3], 8.0, "P1", {"gumbel_softmax": {"cutoff": 0.3}})
every["repressilator, promoters"] = (*models.promoter_repressilator()[:3], 8.0, "P1", {"gumbel_softmax": {"cutoff": 0.3}})
known = {"forked path": partial(estimators.forked_path, num_forks=4), "coupled difference, ± 5 %": partial(estimators.coupled_difference, step=0.05)}
known["Gumbel-Softmax, temperature 0.5"] = partial(estimators.gumbel_softmax, temperature=0.5)
controlled = partial(estimators.dynkin_controls, num_batches=num_batches)
rows, tasks = {}, dict(zip(networks, jax.random.split(keys[4], len(networks))))
for name, key in tqdm(tasks.items(), desc="networks"):
    *model, horizon, species, options = every[name]
    chosen = {"score function": estimators.score_function, "Dynkin controls": controlled}
    chosen |= {label: partial(known[label], **options.get(known[label].func.__name__, {})) for label in rivals}
    rows[name] = estimators.compare(chosen, key, *model, [horizon], **at | {"observable": species})
gains = {name: estimators.gain(found, "score function") for name, found in rows.items()}

# %%
x_label, hollow = "efficiency, in multiples of that of the score function", ["Gumbel-Softmax, temperature 0.5"]
report.figure(
    plots.advantages(gains, reference="score function", hollow=hollow, x_label=x_label), "efficiency",
    caption="Efficiency of gradients of the mean at the last time, per simulated event; geometric means over the parameters.",
    alt="Stars for Dynkin controls lie decades to the right of the score function and of all other markers, and one decade for the promoters.",
)
Table(("network", "Dynkin controls", *rivals), [(name, *(f"× {value:.3g}" for value in found.values())) for name, found in gains.items()])

# %% [markdown]
# ## Where it stops helping
#
# A value function can be no better than its features. Paths that end later see more of what these miss, and promoters, whose genes are on or off
# within moments, are hardest to describe. More strata help until the residual hardly changes within one; a handful of pilot paths fits noise.

# %%
last = {"horizon": {}, "strata": {}, "pilot paths": {}}
for system, row in zip(tqdm(horizons, desc="limits"), jax.random.split(keys[5], len(horizons))):
    *model, horizon, species, _ = every[system]
    settings = [("horizon", end, {}) for end in horizons[system]] + [("strata", n, {"num_strata": n}) for n in strata]
    settings += [("pilot paths", n, {"num_pilot": n}) for n in pilots]
    for key, (setting, value, options) in zip(jax.random.split(row, len(settings)), settings):
        chosen = {"score function": estimators.score_function, "Dynkin controls": partial(controlled, **options)}
        end = value if setting == "horizon" else horizon
        found = estimators.compare(chosen, key, *model, [end], **at | {"observable": species})
        reduction = estimators.gain(found, "score function", per="path")["Dynkin controls"]
        [part.append(number) for part, number in zip(last[setting].setdefault(system, ([], [])), (value, reduction))]
report.figure(
    plots.limits(last, y_label="variance of the score function\nover that of Dynkin controls"), "limits",
    caption="How many times less variance than the score function: over the time at which paths end, the strata, and the pilot paths.",
    alt="The gain falls with the horizon, rises with the number of strata and levels off, and rises with the number of pilot paths.",
)

# %% [markdown]
# ## Verdict

# %%
z, limit = max(abs(r.z) for r in judged), truth.decision_limit(len(judged), num_batches * repetitions)
apart = "repressilator, promoters"
least = min((name for name in gains if name != apart), key=lambda name: gains[name]["Dynkin controls"])
honest = [label for label in ("forked path", "coupled difference, ± 5 %") if label in rivals]
lead = min(found["Dynkin controls"] / max(1.0, *(found[label] for label in honest)) for name, found in gains.items() if name != apart)
first, *_, final = next(iter(last["horizon"].values()))[1]
claims = [
    ("unbiased", "Gradients of association are unbiased for good and for bad value functions.", z, "largest |z|",
     f"|z| < {limit:.2f} for all {len(judged)} comparisons", z < limit),
    ("variance", "Per event (pilot apart), Dynkin controls are at least 50 times as efficient as the score function, promoters excepted.",
     gains[least]["Dynkin controls"], f"times ({least})", "least gain ≥ 50", gains[least]["Dynkin controls"] >= 50),
    ("others", "Nor are coupled differences or forked paths as efficient, promoters excepted.", lead, "times the best of them",
     "least advantage > 1", lead > 1),
    ("horizon", "The gain falls as paths get longer.", final / first, "of that of the shortest", "longest < shortest horizon", final < first),
]  # fmt: skip
if apart in gains:
    claims.append(("promoters", "Where genes with promoter states switch fast, the gain is at least fivefold.", gains[apart]["Dynkin controls"], "times",
                   "gain per event ≥ 5", gains[apart]["Dynkin controls"] >= 5))  # fmt: skip
ours = partial(report.claim, source="this project", kind="beyond")
for id, says, measured, unit, criterion, holds in claims:
    ours(f"dynkin.{id}", says=says, measured=measured, unit=unit, criterion=criterion, holds=bool(holds))
report.numbers()

# %%
report.verdict()

# %% [markdown]
# ## Limits
#
# Observables must be functions of the state at known times, or time integrals of species. $V$ is smooth: observables with sharp edges in state
# space gain less. With many species the degree falls to two and then to one. Pilot paths and regulator cost about as much as some thousand plain paths,
# and can be carried over between the steps of an optimisation (`pilot=`). Standard errors come from batches, of which there must be enough.
