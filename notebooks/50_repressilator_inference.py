# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Fifty inferences of an oscillator: which gradient arrives, and where it gets lost
#
# Three proteins repress one another in a ring and oscillate. From the means of many noisy paths, three rates are to be found again, from fifty first guesses, by
# following stochastic gradients. Which estimator arrives, and how often?

# %% [markdown]
# **Question.** Burger, Kofler, Heinrich and Gerland (2026, arXiv 2604.02121) run fifty inferences of a repressilator with each of three gradient estimators.
# The score function arrives every time, Gumbel-Softmax fails in a few cases of strong binding, the alternative path is worst. Does that come out here?
#
# **Method.** Adam on the squared distance of means, the same fifty guesses and settings for each estimator, true rates from weak to strong binding. Then the variance
# of a gradient over binding, and a second form of the model, with promoters as species.
#
# **What to look for.** Runs that end in a valley beside the star (first figure); how many events that takes (second); variances that cross (third); gradients on the
# wrong side of zero (fourth).
#
# **Runtime.** Quick about 1 minute, paper about 20 minutes, on two cores.

# %%
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from ssagrad import fitting, matching, models, plots, publish, simulate
from ssagrad.estimators import forked_path, gumbel_softmax, score_function
from ssagrad.statistics import binomial_interval, log_ratios, paired_p_value

# %% tags=["parameters"]
profile = "quick"  # "quick" or "paper": where the results go
seed = 50  # every random number comes from it
bindings = [10.0, 2.0]  # true K_d, from weak to strong binding
num_runs = 6  # first guesses, the same for every estimator
adam = {"rate": 0.1, "steps": 40}  # steps, and learning rate, which falls to 0 by a cosine in the second half
num_paths = 256  # of each gradient
num_data = 20000  # paths whose means are the data
horizon = 8.0  # of 20 observations, in protein lifetimes; the period is 4.7 (weak binding) to 7.3
guesses = 2.0  # first guesses lie within this factor of the truth, uniform in the logarithm
gradients = {"paths": 2000, "bindings": [20.0, 10.0, 5.0, 2.0, 1.0]}  # for the variance over binding
promoters = {"paths": 16000, "runs": 3, "batch": 1024}  # with promoters as species: paths of a gradient; fits, and paths in each of their steps

# %% [markdown]
# ## The oscillator and the data
#
# Protein-only: production $k_p / (1 + (P_{i-1}/K_d)^3)$, decay $k_d$; each path starts with 25 molecules of the first protein, so that the means keep a phase. Form, values
# and observation times are our choice; those of the paper are not known to us. A smaller $K_d$ is stronger binding.

# %%
network, rates, start, *_ = models.hill_repressilator()
names, times = sorted(rates), np.linspace(horizon / 20, horizon, 20)
data_key, descent_key, variance_key, promoter_key, gene_key = jax.random.split(jax.random.key(seed), 5)
truths = {K: rates | {"K_d": K} for K in bindings}
data = {K: simulate(jax.random.fold_in(data_key, i), network, p, start, times, num_paths=num_data) for i, (K, p) in enumerate(truths.items())}
factors = guesses ** np.random.default_rng(seed).uniform(-1, 1, (num_runs, len(names)))
begin = {K: {name: np.log(p[name] * factors[:, i]) for i, name in enumerate(names)} for K, p in truths.items()}
network

# %% [markdown]
# ## Fifty descents with each estimator
#
# Adam on $\ln k_p$, $\ln k_d$, $\ln K_d$, 256 paths a step, constant and then falling step sizes. Loss: squared distance of the mean of each protein at
# 20 times, over the mean variance. Declared beforehand: a run **recovers** the truth if the mean of its last tenth is within 10 % in all three rates; it **fits** if its
# mean loss there is below 0.05, a coarse test (the noise of 256 paths leaves 0.004, minima with another period have 0.5 and more). The alternative path runs in continuous
# time, one fork a path. A run that meets a number that is not finite stops alone.

# %%
sf, gs, ap = "score function", "Gumbel-Softmax, temperature 0.5", "alternative path"
estimators = {sf: score_function, gs: partial(gumbel_softmax, temperature=0.5, cutoff=0.3), ap: forked_path}
ensemble = {name: lambda p, k, e=e: e(k, network, p, start, times, num_paths=num_paths) for name, e in estimators.items()}
limits = ({"k_p": np.log(5), "k_d": np.log(0.1), "K_d": np.log(0.2)}, {"k_p": np.log(500), "k_d": np.log(10), "K_d": np.log(100)})
half, descents = adam["steps"] // 2, {}
rate = optax.join_schedules([optax.constant_schedule(adam["rate"]), optax.cosine_decay_schedule(adam["rate"], half)], [half])
for number, (binding, method) in enumerate(tqdm([(K, name) for K in bindings for name in estimators], desc="descents")):
    loss = fitting.means_loss(ensemble[method], data[binding].mean(), scale=float(data[binding].variance().mean()))
    descents[binding, method] = fitting.descend(jax.random.fold_in(descent_key, number), loss, begin[binding], optimizer=optax.adam(rate), num_steps=adam["steps"],
        bounds=limits, on_failure="freeze")  # fmt: skip
track = {(K, name): log_ratios(jax.tree.map(np.exp, run.parameters), truths[K]) for (K, name), run in descents.items()}
end = {(K, name): log_ratios(jax.tree.map(np.exp, run.averaged()), truths[K]) for (K, name), run in descents.items()}
recovered = {case: (np.abs(values) < 0.1).all(-1) for case, values in end.items()}
fits = {case: np.nan_to_num(run.losses[:, -adam["steps"] // 10 :].mean(1), nan=np.inf) < 0.05 for case, run in descents.items()}

# %%
report = publish.Report("50_repressilator_inference", profile=profile, seed=seed, parameters={"num_runs": num_runs, "adam": adam, "bindings": bindings})
plane = {case: (values[..., [names.index("k_p"), names.index("K_d")]], recovered[case]) for case, values in track.items()}
report.figure(plots.descents(plane, labels=("ln k_p / truth", "ln K_d / truth"), limit=1.5), "descents",
    caption="Descents from the same guesses (circles) to where they end, in two of three rates; the star is the truth. Dashed, to a cross: not recovered within 10 %.",
    alt="Grid of panels, estimators in columns and binding strengths in rows, with noisy lines from scattered circles towards a star.")  # fmt: skip

# %%
history = {(K, name): {"events": run.records["events"].cumsum(1), "loss": run.losses, "error": np.abs(track[K, name][:, 1:]).max(-1)}
    for (K, name), run in descents.items()}  # fmt: skip
report.figure(plots.progress(history, quantities={"loss": "loss", "error": "largest error of a rate, |Δ ln θ|"}), "progress",
    caption="Loss (as each step estimates it) and largest error of a rate over simulated events: median and 10–90 % of the runs.",
    alt="Two rows of falling curves with bands, a column for each binding strength and a colour for each estimator.")  # fmt: skip

# %% [markdown]
# ## Where the estimators fail
#
# Shares of successful runs with 95 % Wilson intervals, and the variance of one gradient sample (of the mean of $P_1$ at the last time, in $\ln K_d$, at the true rates).

# %%
variance = {}
for (label, estimator), (place, constant) in tqdm([(e, k) for e in estimators.items() for k in enumerate(gradients["bindings"])], desc="variance"):
    call = partial(estimator, jax.random.fold_in(variance_key, place), network, initial_counts=start, times=[horizon], num_paths=gradients["paths"])
    slopes = jax.jacfwd(lambda log: (paths := call(parameters=rates | {"K_d": jnp.exp(log)})).terms(paths.samples("P1"))[:, -1])(jnp.log(jnp.float32(constant)))
    groups = np.asarray(slopes, float).reshape(20, -1).var(1, ddof=1)
    variance[constant, label] = (groups.mean(), groups.std(ddof=1) / 20**0.5)
tests = {"all rates within 10 %": recovered, "loss below 0.05": fits}
shares = {test: {case: (ok.mean(), *binomial_interval(int(ok.sum()), num_runs)) for case, ok in cases.items()} for test, cases in tests.items()}
report.figure(plots.successes(shares, variance), "successes",
    caption="Runs that succeed, with 95 % intervals, and the variance of a gradient sample (bars: 2 standard errors), over binding strength.",
    alt="Two panels of shares with interval bars by estimator and binding strength, and one of variances on logarithmic axes, where Gumbel-Softmax rises.")  # fmt: skip

# %% [markdown]
# ## Promoters: a gradient of the wrong sign
#
# With every binding to a promoter as a reaction of its own (three sites, slow binding), a straight-through gradient is carried through states that are 0 or 1. The
# propensities are those of mass action in the promoter states, continued off the whole numbers as they are written. Gradients of the mean of $P_1$ at time 10;
# that of Gumbel-Softmax is of the average over a window of width 1 around it.

# %%
genes, gene_rates, gene_start, *_ = models.promoter_repressilator()
logs, sign = {name: jnp.log(value) for name, value in (gene_rates | {"k_on": 0.2}).items()}, {name: {} for name in gene_rates}
for which, sampler in {sf: score_function, gs: partial(gumbel_softmax, temperature=0.5, cutoff=1.0)}.items():
    call = partial(sampler, promoter_key, genes, initial_counts=gene_start, times=[10.0], num_paths=promoters["paths"])
    slopes = jax.jacfwd(lambda log: (paths := call(parameters=jax.tree.map(jnp.exp, log))).terms(paths.samples("P1"))[:, -1])(logs)
    for p, values in slopes.items():
        sign[p][which] = (float(values.mean()), float(values.std() / promoters["paths"] ** 0.5))
report.figure(plots.signs(sign, x_label="derivative in its logarithm", largest=8.0), "signs",
    caption="Gradient of the mean of P1 at time 10 in the logarithm of each rate, with 2 standard errors; shaded: the sign of the unbiased score function.",
    alt="Four panels, one for each rate, with the two estimates on a line through zero; hollow markers lie on the side of the wrong sign.")  # fmt: skip

# %% [markdown]
# The score function's gradients serve here too: four rates from the means of the three proteins, by the Gauss–Newton steps of the next notebook.

# %%
gene_times, (paths_key, fits_key) = np.linspace(0.5, 10, 20), jax.random.split(gene_key)
gene_truth = gene_rates | {"k_on": 0.2}
gene_paths = simulate(paths_key, genes, gene_truth, gene_start, gene_times, num_paths=num_data)
scattered = guesses ** np.random.default_rng(seed + 1).uniform(-1, 1, (promoters["runs"], len(gene_rates)))
gene_fits = matching.match_moments(fits_key, lambda p, k: score_function(k, genes, p, gene_start, gene_times, num_paths=promoters["batch"]),
    {name: value * scattered[:, i] for i, (name, value) in enumerate(gene_truth.items())}, {name: gene_paths.samples(name) for name in ("P1", "P2", "P3")})  # fmt: skip
gene_end = np.abs(log_ratios(gene_fits.estimates, gene_truth))

# %% [markdown]
# ## Verdict

# %%
weak, strong = bindings[0], bindings[-1]
counts, fitted = ({name: ", ".join(f"{ok[K, name].sum()} of {num_runs} at K_d = {K:g}" for K in bindings) for name in estimators} for ok in (recovered, fits))
pooled = {name: np.concatenate([recovered[K, name] for K in bindings]) for name in estimators}
behind = max(paired_p_value(pooled[name], pooled[ap]) for name in (sf, gs))
astray = paired_p_value(fits[strong, sf], fits[strong, gs])
ratio = {pair: [variance[K, pair][0] / variance[K, sf][0] for K in gradients["bindings"]] for pair in (gs, ap)}
doubt = {pair: [np.hypot(*(np.divide(*variance[K, name][::-1]) for name in (pair, sf))) for K in gradients["bindings"]] for pair in (gs, ap)}  # relative
lowest = min(value * (1 - 2 * error) for value, error in zip(ratio[ap], doubt[ap]))
wrong = min(min(abs(sign[p][sf][0]) / sign[p][sf][1], -np.sign(sign[p][sf][0]) * sign[p][gs][0] / sign[p][gs][1]) for p in ("k_p", "k_d"))
claim = partial(report.claim, source="Burger et al. 2026 (settings: ours)")
claim("repressilator.score-function", says="The score function recovers the truth in every run.", measured=counts[sf],
    criterion="all runs within 10 % at every binding strength", holds=bool(pooled[sf].all()))  # fmt: skip
claim("repressilator.score-function-fits", kind="our reading", says="The score function ends with a fit in every run, at every binding strength.",
    measured=fitted[sf], criterion="all: mean loss of the last tenth < 0.05", holds=bool(all(fits[K, sf].all() for K in bindings)))  # fmt: skip
claim("repressilator.straight-through", says="Gumbel-Softmax recovers most, and fails in some runs at strong binding.",
    measured=f"{counts[gs]}; loss below 0.05: {fitted[gs]}",
    criterion=f"most recover at weak binding; at the strongest fewer fit than with the score function (paired test, p = {astray:.2g} < 0.05)",
    holds=bool(recovered[weak, gs].mean() > 0.5 and astray < 0.05))  # fmt: skip
claim("repressilator.alternative-path", says="The alternative path recovers the fewest.", measured=counts[ap],
    criterion=f"fewer than either other, all binding strengths together (paired tests, p ≤ {behind:.2g} < 0.05)", holds=bool(behind < 0.05))  # fmt: skip
claim("repressilator.alternative-variance", says="The alternative path has more variance than the score function.", measured=min(ratio[ap]),
    unit="times, least over K_d", criterion="> 1 by 2 standard errors at every binding strength", holds=bool(lowest > 1))  # fmt: skip
claim("repressilator.straight-through-variance", kind="our reading", says="Beside the score function's, the variance of Gumbel-Softmax grows with binding strength.",
    measured=ratio[gs][-1] / ratio[gs][0], unit="times, strongest over weakest", criterion="> 10, less 2 standard errors",
    holds=bool(ratio[gs][-1] / ratio[gs][0] * (1 - 2 * np.hypot(doubt[gs][-1], doubt[gs][0])) > 10))  # fmt: skip
claim("repressilator.wrong-sign", kind="our reading", says="With promoters as species, Gumbel-Softmax has gradients of the wrong sign.", measured=wrong,
    unit="standard errors from zero, the score function's and on the wrong side", criterion="> 3 for production and for decay", holds=bool(wrong > 3))  # fmt: skip
claim("repressilator.promoters", source="this project", kind="beyond", says="With promoters as species, score-function gradients recover all four rates.",
    measured=f"{(gene_end < 0.15).all(-1).sum()} of {promoters['runs']}; median error {100 * np.median(gene_end):.2g} %",
    criterion="within 15 % in more than half of the runs", holds=bool((gene_end < 0.15).all(-1).mean() > 0.5))  # fmt: skip
report.numbers()

# %%
report.verdict()

# %% [markdown]
# ## Limits
#
# Form of the repressilator, rates, observation times, temperature, cutoff, optimiser, number of steps, first guesses and the tests of success are ours. At strong binding the
# three rates can shift together with hardly any loss (the curvature of the loss at $K_d = 2$ differs by a factor of about 570 between directions); descent in the rates
# is slow there, whatever estimates the gradient, so that "within 10 %" is as much a test of the optimiser and its steps as of the estimator. The next notebook does better. The
# alternative path here is its continuous-time form with split coupling; the event-by-event form of the paper would have to run at the fastest state's rate.
