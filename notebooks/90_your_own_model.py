# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own model and data: rates with error bars, and what the data leave open
#
# From reactions and a table of counts, within the hour, come estimates with 95 % intervals, the fitted model beside the data, and the combinations of rates that these data cannot tell.

# %% [markdown]
# **Question.** Which rates make this model do what was counted, how well are they known, and does the model describe the data at all?
#
# **Method.** `calibration.fit`: Gauss–Newton on means, variances and covariances over replicates, in the logarithm of the rates, from several first guesses (`ssagrad.matching`). Gradients are
# exact where the states can be listed, else those of the estimator with the most precision per second in a short pilot. One noisy path instead of replicates: give `noise`, and a
# particle filter fits it. Directions of the information matrix show what is not identifiable.
#
# **Your own files.** This notebook is a template: `python -m ssagrad fit model.xml data.csv --free k1,k2 --output folder` runs it with your files, and so does setting `model` and `data` in the
# cell below. A model is SBML, or text with reactions and values (`S + I -> 2 I @ infection`, `infection = 0.05`, `S(0) = 10`, a line a statement; `help("ssagrad.calibration.model_text")`).
# Data are a table with the columns time, replicate, species, count, and condition if there are several (`help("ssagrad.observations")`). **With neither**, an example is made here: outbreaks in
# groups of two sizes, of which the ill and the dead are counted, at three of seven times in each group, with known rates.
#
# **What to look for.** Points in the bands (first figure), all starts at the same end (second, third), residuals within ± 2 and no hatched bar (fourth).
#
# **Runtime.** Quick about 40 seconds, paper about 3 minutes, on two cores; your own depends on how many reactions fire.

# %%
from functools import partial

import numpy as np

from ssagrad import calibration, plots, publish

# %% tags=["parameters"]
profile = "quick"  # "quick" or "paper": where the results go
seed = 90  # every random number comes from it
model = ""  # path of an SBML file or of a text with reactions; "" for the example
data = ""  # path of a CSV file; "" for the example
free = ""  # parameters to fit, separated by commas; "" for all that laws read
estimator = "auto"  # or exact, dynkin_controls, score_function, ...
noise = 0.0  # standard deviation of a measurement in molecules: fits single paths; 0 for replicates
num_starts = 4  # first guesses
num_paths = 256  # simulated in each step and condition (or particles)
checkpoint = ""  # path of a file that the fit goes on from; "" for none
people = 20  # susceptible in the large groups of the example, twice as many as in the small ones
num_groups = 150  # of each size in the example

# %% [markdown]
# ## The model and the data

# %%
used = calibration.model_and_data(model, data, seed=seed, noisy=noise > 0, people=people, num_groups=num_groups)
names = calibration.names_of(free, used.model)
used.model if hasattr(used.model, "_repr_latex_") else used.model.network

# %%
used.observations

# %% [markdown]
# ## The fit
#
# Estimates, their intervals, and how they came about.

# %%
settings = {"free": names, "seed": seed, "noise": noise or None, "num_starts": num_starts, "num_paths": num_paths}
fit = calibration.fit(used.model, used.observations, estimator=estimator, checkpoint=checkpoint or None, progress="fit", **settings)
fit.table()

# %%
fit.diagnosis()

# %%
fit.pilot_table() if fit.pilot else "No pilot was needed to choose the gradients."

# %% [markdown]
# ## The model beside the data

# %%
report = publish.Report("90_your_own_model", profile=profile, seed=seed, parameters={"free": list(names), "estimator": estimator, "num_paths": num_paths})
report.figure(plots.model_and_data(fit.panels()), "fit",
    caption="Fitted model (line: mean; band: nine paths in ten) and data (points: means over replicates with 95 % intervals, hollow where one replicate is alone; thin lines: nine in ten of 20 replicates or more).",
    alt="Panels over time, a row for each condition and a column for each species, with a band, a line through it, and points.")  # fmt: skip

# %% [markdown]
# ## The way there

# %%
way = fit.progress
report.figure(plots.fit_progress(way.cost, way.loss, x_label=way.cost_unit, y_label=way.loss_label, best=way.best, reference=way.reference), "progress",
    caption="Loss of every start against its cost. The first steps look at early times only. Dashed: what to expect of a model that is right.",
    alt="Falling curves, one for each first guess, that meet.")  # fmt: skip

# %%
intervals = {name: (value, *fit.intervals[name]) for name, value in fit.estimates.items()}
guesses, ends = ({name: part(way.parameters[name]) for name in names} for part in (lambda path: path[0, 0], lambda path: path[:, -1]))
report.figure(plots.estimates_with_intervals(intervals, guesses=guesses, ends=ends, truth=used.truth or None), "estimates",
    caption="Estimates with 95 % intervals, as multiples of the first guess (dashed). Ticks: where all starts ended. A dotted line means that the data leave the parameter open.",
    alt="A row for each parameter with a point and an interval on a logarithmic axis.")  # fmt: skip

# %% [markdown]
# ## What is left over, and what is left open
#
# Left: differences between model and data. Right: combinations of parameters, each with the error of its logarithm; beyond the dashed line (a factor e) the data do not determine it.

# %%
kinds = {(one.condition, one.moment): (one.times, one.z) for one in fit.residuals}
bars = [(one.exponents, one.standard_error, one.is_determined) for one in fit.directions]
report.figure(plots.fit_diagnostics(kinds, bars, names, limit=calibration.UNDETERMINED), "diagnostics",
    caption="Residuals of all moments in standard errors (grey: ± 2), and how well combinations of parameters are known.",
    alt="Left, points scattered around zero over time. Right, bars, the shorter the better known.")  # fmt: skip

# %% [markdown]
# ## What fewer data would leave open
#
# Shown on the example only. There, recovery and death both take the ill away: where only the ill are counted, and not the dead, their sum is known and neither of them is.

# %%
blind = calibration.fit(used.model, used.observations.of(("I",)), **settings).undetermined if used.truth else []
[one.text for one in blind] if used.truth else "Does not apply to your own files: what they leave open is in the figure above."

# %% [markdown]
# ## Verdict

# %%
claim = partial(report.claim, source="this project", kind="beyond")
largest = max([float(np.abs(one.z).max()) for one in fit.residuals], default=0.0)
if noise == 0:
    claim("own-model.describes", says="The fitted model describes the moments of the data.", measured=fit.misfit, unit="mean square residual",
        criterion="below 2", holds=fit.misfit < 2)  # fmt: skip
claim("own-model.determined", says="The data determine all free parameters.", measured="; ".join(one.text for one in fit.undetermined) or "all are",
    criterion="every combination known to better than a factor e", holds=not fit.undetermined)  # fmt: skip
if used.truth:
    z = [(np.log(fit.estimates[name] / used.truth[name])) / fit.standard_errors[name] for name in names]
    claim("own-model.recovers", says="The example's known rates are recovered within the error bars.", measured=float(np.abs(z).max()), unit="largest |z|",
        criterion="below 3.5", holds=bool(np.abs(z).max() < 3.5))  # fmt: skip
    claim("own-model.open", says="Without counts of the dead, the fit says that recovery and death cannot be told apart.", measured="; ".join(one.text for one in blind),
        criterion="one combination, of these two alone", holds=len(blind) == 1 and all(name in blind[0].text for name in ("recovery", "death")) and "infection" not in blind[0].text)  # fmt: skip
report.value("largest-residual", largest, unit="standard errors")
report.numbers()

# %%
report.verdict()

# %% [markdown]
# ## Limits
#
# Error bars are those of the parameters of this model; that it is the right one, the misfit can only fail to deny. Intervals are those of Student's t in the logarithm, still too
# narrow where few replicates are paths seen at many times (3 at 4 times cover the truth in 80 % of fits, 10 in 90 %). Moments say less than whole paths do. Initial counts are known and equal in all replicates of a condition; a mixture of them shows as scatter that the model lacks. What is
# called determined is so near these estimates; far away there may be others, which more starts would show. Models with events (jumps at a time) can be simulated, not fitted.
