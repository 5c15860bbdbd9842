# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Unbiased estimators agree with exact gradients wherever these are known, and biased ones do not
#
# The score function, Dynkin controls, forked and alternative paths are right on every network and in every parameter, within what their own
# standard errors allow. Gumbel-Softmax is not, and by how much depends on the network more than on the temperature; nor is smoothing where the
# mean bends sharply.

# %% [markdown]
# **Question.** Eight ways to differentiate an expectation over exact paths: which of them give the gradient, which give something near it, and what
# does a gradient of a given precision cost?
#
# **Method.** Networks whose master equation can be solved, with the derivative of its law; the mean of one species at the last time and its average
# over time; derivatives in the logarithm of every rate constant. Each difference from the exact gradient becomes a z-score. One limit decides,
# which all unbiased estimates together exceed with a probability of at most 0.001.
#
# **What to look for.** Upper rows of the first figure inside the band, lower rows outside. Then the size of the bias, the cost, and one mistake in
# a score function that is easy to make.
#
# **Reference.** Plyasunov and Arkin 2007, doi:10.1016/j.jcp.2006.06.047; Burger, Kofler, Heinrich and Gerland 2026, arXiv:2604.02121, who compare
# three of these with exact gradients of association. **Runtime.** Quick (one network) about 1 minute, paper (six) about 8 minutes, on two cores.

# %%
from functools import partial

import jax
import numpy as np
from tqdm import tqdm

from ssagrad import estimators, models, plots, publish, statistics
from ssagrad.coupling import rate_slopes
from ssagrad.estimators import truth
from ssagrad.score import scalars_of, score_accumulator, waiting_since_last_event
from ssagrad.simulate import simulate_with
from ssagrad.tables import Table

# %% tags=["parameters"]
profile = "quick"  # "quick" or "paper": where the results go
seed = 30  # every random number comes from it
chosen = ["telegraph"]  # networks, among the six below
num_paths = 4096  # per estimator and network
num_batches = 256  # groups of paths whose averages are the samples of Dynkin controls
num_forks = 4  # on each path
step = 0.05  # of coupled differences, relative: ± 5 % of each rate constant
temperatures = [1.0]  # of Gumbel-Softmax
sigma = 0.1  # of smoothing, in the logarithm of the rate constants
family_error = 0.001  # probability that any comparison of an unbiased estimator fails by chance
one_line = ["score function"]  # estimators in the example of the contract
num_censored = 100000  # paths of the isomerisation

# %% [markdown]
# ## Six networks
#
# Linear (immigration–death), conserved (association, dimerisation), a gene that is on or off (telegraph), bistable (Schlögl), and an epidemic among
# 25 people that dies out (SIR). `truth.problems` says what is observed when, and what estimators need to know.

# %%
problems = truth.problems()
problems["telegraph"].model.network

# %% [markdown]
# ## One line for every estimator
#
# An estimator is called like `simulate` and returns an ensemble of paths that carries a derivative. The exact law is such an ensemble too. So the
# gradient of any loss of ensemble statistics is one line, the same for all of them:

# %%
unbiased = {
    "score function": estimators.score_function,
    "Dynkin controls": partial(estimators.dynkin_controls, num_batches=num_batches, num_pilot=num_paths // 8),
    "forked path": partial(estimators.forked_path, num_forks=num_forks),
    "alternative path": estimators.alternative_path,
}
gumbel = {f"Gumbel-Softmax, temperature {tau:g}": partial(estimators.gumbel_softmax, temperature=tau) for tau in temperatures}
biased = gumbel | {
    "propensity straight-through": estimators.propensity_straight_through,
    f"coupled difference, ± {100 * step:g} %": partial(estimators.coupled_difference, step=step),
    f"smoothing, σ = {sigma:g}": partial(estimators.polyak_smoothing, sigma=sigma, decode=truth.exponentials),
}
death = problems["immigration–death"].model
at = {"initial_counts": {}, "times": [3.0], "num_paths": num_paths}
ensembles = {label: partial((unbiased | biased)[label], jax.random.key(seed + 1), death.network, **at) for label in one_line}
ensembles["exact law"] = partial(problems["immigration–death"].master().ensemble, times=[3.0])
gradients = {label: jax.grad(lambda rates: (ensemble(rates).mean("X")[-1] - 8.0) ** 2)(death.parameters) for label, ensemble in ensembles.items()}
Table(("gradient of (mean − 8)²", *death.parameters), [(label, *(f"{g[p]:.2f}" for p in death.parameters)) for label, g in gradients.items()])

# %% [markdown]
# ## Against the exact gradient
#
# The expectation is the mean of one term per path; the terms' derivatives are independent samples of the gradient, whose spread gives its standard
# error. $N$ true statements exceed a common limit with a probability of at most $\varepsilon$ if each does so with $\varepsilon/N$ (Bonferroni).
# Dynkin controls have few samples, one per batch, so the limit is that of Student's distribution. Where they explain everything, rounding in single
# precision is the only error left: a relative error of 10⁻⁵ is added to every standard error. In the table: estimate, and z-score in brackets.

# %%
tasks = [(name, label) for name in chosen for label in unbiased | biased if (name, label) != ("Schlögl", "alternative path")]
keys = jax.random.split(jax.random.key(seed), len(tasks) + 1)
judged = {}
for key, (problem, estimator) in tqdm(list(zip(keys, tasks)), desc="gradients"):
    found = truth.judge((unbiased | biased)[estimator], key, problems[problem], num_paths=num_paths)
    judged |= {(problem, estimator, quantity): result for quantity, result in found.items()}

# %%
every = np.concatenate([*truth.z_scores(judged, unbiased).values()])
limit = truth.decision_limit(every.size, num_batches, family_error=family_error)
truth.table(judged, problems)

# %%
sizes = {"chosen": chosen, "num_paths": num_paths, "num_batches": num_batches, "num_forks": num_forks, "step": step}
sizes |= {"temperatures": temperatures, "sigma": sigma, "family_error": family_error, "num_censored": num_censored, "one_line": one_line}
report = publish.Report("30_gradients_against_truth", profile=profile, seed=seed, parameters=sizes)
report.figure(
    plots.forest({"unbiased": truth.z_scores(judged, unbiased), "biased": truth.z_scores(judged, biased)}, limit=limit),
    "forest",
    caption=f"Every gradient against its exact value. By chance, the {every.size} unbiased ones leave the band with probability {family_error:g}.",
    alt="Points of unbiased estimators fill the band around zero; those of straight-through estimators lie far outside of it.",
)

# %% [markdown]
# ## How large is the bias?
#
# Straight-through estimators replace the jump from $x$ to $x + \nu_r$ by a derivative, which is right only if the future is linear in the counts. A
# lower temperature removes the bias of a single choice, not that one. Where the tangents explode (propensity straight-through on the gene), there
# is no estimate at all. Coupled differences are biased by $O(h^2)$, which is too little to show here (the verdict has it), smoothing by
# $O(\sigma^2)$, which is much where the mean bends sharply: Schlögl's system changes sides.

# %%
errors = {label: truth.relative_errors(judged, label, truth.QUANTITIES[1]) for label in biased}
labels = [f"{name}: {p}" for name in chosen for p in problems[name].names]
report.figure(
    plots.biases(errors, labels, x_label="error of the gradient of the average over time (% of the exact one), with 2 standard errors"),
    "bias",
    caption="Relative errors of biased estimators, for each rate constant of each network. Triangles and bars at an edge go on beyond it.",
    alt="Coupled differences and smoothing scatter around zero; straight-through estimators are off by tens of per cent in many rows.",
)

# %% [markdown]
# ## What does a gradient cost?
#
# The efficiency $1/(\text{variance} \times \text{events per path})$ says how many times fewer events do for the same standard error (Glynn and
# Whitt 1992, doi:10.1287/opre.40.3.505); events of extra and pilot paths count. Where all propensities are linear, Dynkin controls are limited by
# rounding only. An event is not a second: `benchmarks/gradients.py` measures seconds.

# %%
gain = {task: result.efficiency(judged[task[0], "score function", task[2]]) for task, result in judged.items()}
others = [label for label in unbiased | biased if label != "score function"]
panels = {quantity: [[gain.get((name, label, quantity), np.nan) for name in chosen] for label in others] for quantity in truth.QUANTITIES}
report.figure(
    plots.efficiencies(panels, others, chosen, reference="score function", hollow=biased, note="In brackets: biased estimators."),
    "efficiency",
    caption="Efficiency of each estimator over that of the score function, counting simulated events; geometric means over the rate constants.",
    alt="Dynkin controls are darkest among the unbiased estimators in every column.",
)

# %% [markdown]
# ## The unfinished waiting time
#
# A path that is observed at $t$ has waited since its last event, in vain. That interval is part of its probability, and of its score. Code for the
# score function that sums over events only forgets it: here for five molecules that isomerise, with and without.

# %%
model, scalars = models.isomerisation(), scalars_of(models.isomerisation().parameters)
accumulators = score_accumulator(model.network, scalars), waiting_since_last_event()
paths, (score, waited) = simulate_with(accumulators, keys[-1], *model[:2], {"A": 5}, [1.0], num_paths=num_censored)
total = rate_slopes(model.network, paths.counts[:, -1], model.parameters).sum(1) * np.array([model.parameters[p] for p in scalars.names])
exactly = truth.exact_gradients(truth.Problem(model._replace(initial_counts={"A": 5}), 1.0, "B"))[truth.QUANTITIES[0]]
deviation = paths.samples("B") - paths.mean("B")
samples = {"whole score": deviation * score[:, -1], "without the unfinished\nwaiting time": deviation * (score + waited * total[:, None])[:, -1]}
slopes = {label: (values.mean(0), np.asarray(statistics.standard_error(values))) for label, values in samples.items()}
censored = {
    f"rate constant: {p}": (exactly[i], {label: (mean[i], error[i]) for label, (mean, error) in slopes.items()}) for i, p in enumerate(scalars.names)
}
report.figure(
    plots.estimates(censored, x_label="derivative of the mean of B\nin the logarithm of the rate constant"),
    "censored",
    caption="Derivatives of the mean number of B molecules at t = 1 by two score functions, from the same paths, against the exact ones (dashed).",
    alt="The whole score lies on the dashed lines; the score without the unfinished waiting time is much closer to zero.",
)

# %% [markdown]
# ## Which one to use
#
# | you have | use |
# | --- | --- |
# | a few thousand states | `exact.MasterEquation`: no sampling at all |
# | mass action, or smooth rates, observed at known times | `dynkin_controls`: unbiased, and the most efficient of all on the networks above |
# | a network that forgets its past, few parameters | `forked_path`, or `coupled_difference` (a tiny bias, one pair of paths a parameter) |
# | any observable, random times, long memory | `score_function`: nothing to choose, one simulation for all parameters |
# | very many parameters and molecules in large numbers | `gumbel_softmax` or `propensity_straight_through`, after a check against one of the above |
# | a simulator that cannot be looked into | `polyak_smoothing`, with a small σ |

# %% [markdown]
# ## Verdict

# %%
ours, paper = ("this project", "beyond"), ("Burger et al. 2026 (networks, temperatures: ours)", "our reading")
bias, doubt = errors["Gumbel-Softmax, temperature 1"]
gene = min(([part[labels.index("telegraph: k_off")] for part in errors[label]] for label in gumbel), key=lambda pair: abs(pair[0]))
small = max(np.abs(truth.difference_bias(problems[name], step)).max() for name in chosen)
forgets = min((abs(slope / true - 1), error / abs(true)) for true, found in censored.values() for slope, error in list(found.values())[1:])
whole = max(abs(slope - true) / error for true, found in censored.values() for slope, error in list(found.values())[:1])
lead = truth.least_advantage(gain, "Dynkin controls", unbiased)
claims = [
    ("unbiased-agree", *ours, "Every unbiased estimator agrees with the exact gradient in all comparisons.", np.abs(every).max(), None,
     "largest |z|", f"|z| < {limit:.2f} for all {every.size} comparisons (family error {family_error:g})", np.abs(every).max() < limit),
    ("gumbel-biased", *paper, "Gumbel-Softmax at temperature 1 is biased.", 100 * np.mean(np.abs(bias) > 5 + limit * doubt), None, "% of gradients",
     f"more than half of them (average over time) are off by 5 % and {limit:.1f} standard errors", np.mean(np.abs(bias) > 5 + limit * doubt) > 0.5),
    ("gumbel-promoter", *paper, "For the switching of a single gene, Gumbel-Softmax is far off at every temperature tried.", *gene, "%",
     f"telegraph (k_off): the least is beyond 20 % by {limit:.1f} standard errors", abs(gene[0]) - limit * gene[1] > 20),
    ("small-steps", *ours, f"Coupled differences (± {100 * step:g} %) of averages over time are biased by less than 5 %.", small, None,
     "%", "largest exact bias < 5 %", small < 5),
    ("unfinished-waiting-time", *ours, "A score without the unfinished waiting time is off by tens of per cent, the whole score is right.",
     100 * forgets[0], 100 * forgets[1], "%", f"beyond 10 %, the whole score within {limit:.1f} standard errors", forgets[0] > 0.1 and whole < limit),
    ("dynkin-efficient", *ours, "Per event, Dynkin controls are the most efficient unbiased estimator on every network.", lead, None,
     "times the next", "least advantage over the next > 2", lead > 2),
]  # fmt: skip
for id, source, kind, says, measured, error, unit, criterion, holds in claims:
    known = {"measured": measured, "standard_error": error, "unit": unit, "criterion": criterion, "holds": bool(holds)}
    report.claim(f"gradients.{id}", source=source, kind=kind, says=says, **known)
report.numbers()

# %%
report.verdict()

# %% [markdown]
# ## Limits
#
# Agreement within errors never proves equality: the bands are as wide as the standard errors, which the table of estimates shows. One observable
# per network, at one time; small networks only, since larger ones have no exact gradient. Where the tangents of a straight-through estimator
# explode (the telegraph), its standard error is as wrong as its mean. Events are counted as equal, though an event with tangents, or a Dynkin
# control, costs more than a plain one. Alternative paths have no time averages here, and none for Schlögl's system, whose uniformisation would take
# 40,000 steps a path.
