"""Hierarchical inference for wells that follow a differential equation, with amortised and refined posteriors (Roeder et al. 2019).

    from ssagrad import hierarchy

    experiment = hierarchy.read_experiment(hierarchy.located("vi-hds"))
    system = hierarchy.neural.hierarchical()                         # or receiver.constant_expression()
    trained = hierarchy.train(key, system, experiment)               # the published bound: globals drawn for each well
    hierarchy.evaluate(key, system, *trained[:2], experiment)        # bounds, effective sample sizes, predictions
    hierarchy.evaluate(key, system, *trained[:2], experiment, steps=20)   # the same with posteriors refined by Fisher scoring

Latents are data (`levels`); `receiver` and `neural` are the systems; `encoder` and `posterior` the published q; `bound` and `shared` the two
objectives; `refinement` and `newton` the better posteriors; `forecast` predicts wells from their components; `chains` samples one by NUTS; `study` and
`ablation` are the experiments of the notebook.
"""

from ssagrad.hierarchy import chains, neural, receiver, synthetic
from ssagrad.hierarchy.evaluation import Evaluation, evaluate
from ssagrad.hierarchy.forecast import Forecast, device_means, dose_error, dose_response, forecast, with_components_of
from ssagrad.hierarchy.levels import Latent, Levels, levels_of
from ssagrad.hierarchy.newton import Mode, joint_mode
from ssagrad.hierarchy.plate_reader import Experiment, fold, held_out, read_experiment
from ssagrad.hierarchy.shared import SharedPosterior, pinned
from ssagrad.hierarchy.sources import DataError, bring, located
from ssagrad.hierarchy.system import System
from ssagrad.hierarchy.training import Schedule, Trained, train

__all__ = [
    "DataError",
    "Evaluation",
    "Experiment",
    "Forecast",
    "Latent",
    "Levels",
    "Mode",
    "Schedule",
    "SharedPosterior",
    "System",
    "Trained",
    "bring",
    "chains",
    "device_means",
    "dose_error",
    "dose_response",
    "evaluate",
    "fold",
    "forecast",
    "held_out",
    "joint_mode",
    "levels_of",
    "located",
    "neural",
    "pinned",
    "read_experiment",
    "receiver",
    "synthetic",
    "train",
    "with_components_of",
]
