"""Double receiver devices as a differential equation ("white box"): growth, LuxR and LasR, two promoters, three reporters.

State: x (optical density), rfp, yfp, cfp, f530, f480 (autofluorescence), luxR, lasR; all per cell but x. With γ = growth rate · (1 − x/K):

    dx/dt = γ x                              drfp/dt = rc − (γ + d) rfp            dluxR/dt = rc aR − (γ + dR) luxR
    dyfp/dt = rc aYFP P81 − (γ + d) yfp      dcfp/dt = rc aCFP P76 − (γ + d) cfp   dlasR/dt = rc aS − (γ + dS) lasR
    P76 = (e76 + KGR76 bR + KGS76 bS) / (1 + KGR76 bR + KGS76 bS), P81 alike;      bR = luxR² fR, bS = lasR² fS
    fR = ((KR6 C6)^nR + (KR12 C12)^nR) / (1 + KR6 C6 + KR12 C12)^nR, fS alike

Observed: x, x rfp, x (yfp + f530), x (cfp + f480). Reference: Roeder, Grant, Phillips, Dalchau, Meeds 2019, arXiv:1905.12090 (and its public code,
whose growth-rate model exchanges C6 and C12; here they are what they are called).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.hierarchy.integrate import Prediction, modified_euler
from ssagrad.hierarchy.levels import Latent, levels_of
from ssagrad.hierarchy.system import System

SIGNALS = ("OD", "RFP", "YFP", "CFP")
NUM_GROUPS = 7  # three ribosome binding sites of LuxR, four of LasR
MASKS = ((True,) * 3 + (False,) * 4, (False,) * 3 + (True,) * 4)  # of the components, those that aR and aS depend on
FLOOR = 1e-12  # of concentrations: (K c)^n has no derivative at c = 0
START = 0.002  # optical density at time 0
_PRECISIONS = ("prec_x", "prec_rfp", "prec_yfp", "prec_cfp")
_PRECISION_2 = 0.7071
_GLOBALS = {
    **dict.fromkeys(_PRECISIONS, (8, 2)), "e76": (-3, 1), "e81": (-3, 1), "KGR76": (2, 3), "KGR81": (-2, 3), "KGS76": (-2, 3), "KGS81": (2, 3),
    "KR6": (-6, 3), "KR12": (-12, 3), "KS6": (-12, 3), "KS12": (-6, 3), "nR": (1, 0.25), "nS": (1, 0.25), "aYFP": (0, 2), "aCFP": (0, 2),
    "dR": (-2, 1), "dS": (-2, 1), "drfp": (-2, 1.5), "dyfp": (-2, 1.5), "dcfp": (-2, 1.5), "a530": (-5, 2), "a480": (-5, 2),
}  # fmt: skip
_LOCALS = {"r": (0, 0.25, "sigma"), "K": (1, _PRECISION_2, "precision"), "tlag": (0, _PRECISION_2, "precision"), "rc": (0, 2, "sigma")}


def constant_expression(*, noise: str = "global") -> System:
    """The white box "DR_Constant": transcription at a constant rate rc of each well.

    noise: level of the four precisions, "global" as published, or "local": each well has its own.
    """
    return _system("white box, constant expression", {}, noise)


def growth_expression(*, noise: str = "global") -> System:
    """The white box "DR_Growth": rc ((1 − es) growth rate + es) in the place of rc."""
    return _system("white box, growth-rate expression", {"es": (-2, 1)}, noise)


def _system(name: str, more: Mapping[str, tuple[float, float]], noise: str) -> System:
    if noise not in ("global", "local"):
        raise ValueError(f"expected noise to be global or local, received {noise!r}")
    latents = [Latent(key, noise if key in _PRECISIONS else "global", "lognormal", *prior) for key, prior in (_GLOBALS | dict(more)).items()]
    latents += [Latent(key, "group", "lognormal", 1, 3) for key in ("aR", "aS")]
    levels = levels_of(latents + [Latent(key, "local", "lognormal", *prior) for key, prior in _LOCALS.items()])
    return System(f"{name}, noise {noise}", levels, _initial_weights, MASKS, partial(_solve, levels), _guards("es" in more))


def _guards(growth: bool) -> tuple[tuple[str, float, float], ...]:
    """The ranges of `_solve`, as logarithms."""
    degradation, protein = ((1e-4, 1.0), (1e-4, 5.0)) if growth else ((1e-12, 2.0), (1e-12, 5.0))
    ranges = dict.fromkeys(("drfp", "dyfp", "dcfp"), degradation) | dict.fromkeys(("dR", "dS"), protein) | dict.fromkeys(("nR", "nS"), (0.5, 3.0)) | {"r": (1e-12, 5.0)}
    return tuple((name, float(np.log(low)), float(np.log(high))) for name, (low, high) in ranges.items())


def _initial_weights(key: jax.Array) -> dict[str, jax.Array]:
    """Effects of components on aR and aS in the equation [2, 7], 0 at the start; exp(w · own components) multiplies the draw."""
    del key
    return {"conditioner": jnp.zeros((2, NUM_GROUPS), jnp.float32)}


def component_effects(weights: Mapping[str, jax.Array], groups: jax.Array) -> jax.Array:
    """log of the factors of aR and aS [2, M] of component vectors [7, M]: aR sees the first three components, aS the last four."""
    return (weights["conditioner"] * np.array(MASKS, np.float32)) @ groups


def _solve(levels, weights, u, treatments, groups, times) -> Prediction:
    p = levels.values(levels.clipped(u))
    effects = jnp.exp(component_effects(weights, groups))
    lower, upper = (1e-4, 1.0) if "es" in p else (1e-12, 2.0)
    p |= {key: jnp.clip(p[key], lower, upper) for key in ("drfp", "dyfp", "dcfp")}
    p |= {key: jnp.clip(p[key], 1e-4 if "es" in p else 1e-12, 5.0) for key in ("dR", "dS")}
    p |= {"aR": p["aR"] * effects[0], "aS": p["aS"] * effects[1], "r": jnp.clip(p["r"], 0, 5.0)}
    bound_r, bound_s = _bound(p, treatments)
    grid = jnp.asarray(times, jnp.float32)
    growth = p["r"][None] * jax.nn.sigmoid(4 * (grid[:, None] - p["tlag"][None]))
    capacity = p["rc"][None] * ((1 - p["es"][None]) * growth + p["es"][None]) if "es" in p else jnp.broadcast_to(p["rc"][None], growth.shape)
    start = (jnp.full_like(p["r"], START), *[jnp.zeros_like(p["r"])] * 7)
    path = modified_euler(partial(_derivative, p, bound_r, bound_s), start, (growth, capacity), grid)
    x, rfp, yfp, cfp, f530, f480 = path[:6]
    mean = jnp.stack([x, x * rfp, x * (yfp + f530), x * (cfp + f480)], axis=1)
    variance = jnp.stack([1 / p[key] for key in _PRECISIONS])[None]
    return Prediction(mean, variance)


def _bound(p, treatments):
    c6, c12 = (jnp.clip(jnp.expm1(c), FLOOR, 1e6) for c in treatments)
    bound = []
    for k6, k12, n in (("KR6", "KR12", "nR"), ("KS6", "KS12", "nS")):
        a, b, power = p[k6] * c6, p[k12] * c12, jnp.clip(p[n], 0.5, 3.0)
        log_share = lambda value: power * (jnp.log(value) - jnp.log1p(a + b))  # noqa: B023
        bound.append(jnp.exp(log_share(a)) + jnp.exp(log_share(b)))
    return bound


def _derivative(p, bound_r, bound_s, state, drive):
    x, rfp, yfp, cfp, f530, f480, lux, las = state
    growth, capacity = drive
    gamma = growth * (1 - x / p["K"])
    b_r, b_s = lux * lux * bound_r, las * las * bound_s
    on76, on81 = (p[f"KGR{n}"] * b_r + p[f"KGS{n}"] * b_s for n in (76, 81))
    p76, p81 = (p["e76"] + on76) / (1 + on76), (p["e81"] + on81) / (1 + on81)
    return (
        gamma * x,
        capacity - (gamma + p["drfp"]) * rfp,
        capacity * p["aYFP"] * p81 - (gamma + p["dyfp"]) * yfp,
        capacity * p["aCFP"] * p76 - (gamma + p["dcfp"]) * cfp,
        capacity * p["a530"] - gamma * f530,
        capacity * p["a480"] - gamma * f480,
        capacity * p["aR"] - (gamma + p["dR"]) * lux,
        capacity * p["aS"] - (gamma + p["dS"]) * las,
    )
