"""Named networks with their published parameters: what examples, tests and benchmarks agree on.

    sir = models.sir()
    paths = simulate(key, *sir[:4], num_paths=10_000)

Every function returns a `Model`; change a part of it with `model._replace(parameters={...})`. Counts are molecules (or
individuals, or animals), and rate constants are per unit of the time that the docstring names. Where a source gives no values, the
docstring says that they are this library's choice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np

from ssagrad.network import Network


class Model(NamedTuple):
    """A network with everything needed to simulate it, in the order in which `simulate` takes it.

    network: species and reactions.
    parameters: rate constants by name.
    initial_counts: molecules by species (those not named start at 0).
    times: observation times [T] from 0 on.
    source: where the parameters come from.
    """

    network: Network
    parameters: dict[str, Any]
    initial_counts: dict[str, int]
    times: np.ndarray
    source: str


def immigration_death() -> Model:
    """Molecules arrive one by one and die independently; Poisson at any time when it starts from 0.

    dm/dt = immigration − death · m; time in seconds. The simplest open system, with its law in closed form (`exact.birth_death`).

    Source: Discrete Stochastic Models Test Suite, case 002-01 (Evans, Gillespie and Wilkinson 2008, doi:10.1093/bioinformatics/btm566).
    In units of the mean lifetime 1/death: immigration 10, death 1.
    """
    network = Network.from_text("0 -> X @ immigration; X -> 0 @ death")
    parameters = {"immigration": 1.0, "death": 0.1}
    return Model(network, parameters, {"X": 0}, _times(50.0), "DSMTS 002-01, doi:10.1093/bioinformatics/btm566")


def birth_death() -> Model:
    """Linear birth–death process: each molecule divides or dies; slightly subcritical, so it dies out in the end.

    dm/dt = (birth − death) m; time in seconds. Its law is in closed form (`exact.birth_death`), its variance grows before it decays.

    Source: Discrete Stochastic Models Test Suite, case 001-01 (Evans, Gillespie and Wilkinson 2008, doi:10.1093/bioinformatics/btm566).
    """
    network = Network.from_text("X -> 2 X @ birth; X -> 0 @ death")
    parameters = {"birth": 0.1, "death": 0.11}
    return Model(network, parameters, {"X": 100}, _times(50.0), "DSMTS 001-01, doi:10.1093/bioinformatics/btm566")


def isomerisation() -> Model:
    """Molecules switch between two forms, A <-> B, independently; a sum of two binomials at any time (`exact.isomerisation`).

    Time in units of 1/forward. Parameters: this library's choice.
    """
    network = Network.from_text("A <-> B @ forward, backward")
    return Model(network, {"forward": 1.0, "backward": 0.5}, {"A": 20}, _times(5.0), "this library's choice")


def dimerisation(*, reversible: bool = True) -> Model:
    """Two equal molecules pair up, 2 P -> P2 with propensity k_on P (P − 1)/2, and dissociate again if `reversible`.

    The smallest network with a nonlinear propensity; time in seconds; at most 51 states, so the master equation gives its law.

    Source: Discrete Stochastic Models Test Suite, case 003-01 (Evans, Gillespie and Wilkinson 2008, doi:10.1093/bioinformatics/btm566);
    the irreversible form leaves dissociation out.
    """
    text, parameters = "2 P -> P2 @ k_on", {"k_on": 0.001}
    if reversible:
        text, parameters = text + "; P2 -> 2 P @ k_off", parameters | {"k_off": 0.01}
    return Model(Network.from_text(text), parameters, {"P": 100}, _times(50.0), "DSMTS 003-01, doi:10.1093/bioinformatics/btm566")


def schloegl() -> Model:
    """Schlögl's autocatalytic system: one species with two stable states, near 85 and 565 molecules.

    Propensities 0.03 x(x−1)/2, 10⁻⁴ x(x−1)(x−2)/6, 200 and 3.5 x: the buffered species (10⁵ and 2·10⁵ molecules) are in the rate
    constants. From 250 molecules a path falls to either side, so the distribution is bimodal: moments alone do not describe it.

    Source: Schlögl 1972, doi:10.1007/BF01379769; values as in Cao and Petzold 2006, doi:10.1016/j.jcp.2005.06.012.
    """
    network = Network.from_text("2 X -> 3 X @ c1; 3 X -> 2 X @ c2; 0 -> X @ c3; X -> 0 @ c4")
    parameters = {"c1": 0.03, "c2": 1e-4, "c3": 200.0, "c4": 3.5}
    return Model(network, parameters, {"X": 250}, _times(10.0), "doi:10.1016/j.jcp.2005.06.012")


def sir() -> Model:
    """Epidemic in a closed population: susceptible, infectious, recovered; over by about t = 1 (basic reproduction number 8).

    Propensities infection · S · I and recovery · I: `infection` is per pair of individuals, not divided by the population.

    Source: Kreikemeyer, Andelfinger and Uhrmacher 2024, "Towards learning stochastic population models by gradient descent",
    arXiv:2404.07049 (rates and start; the horizon 1 with 101 times is this library's choice).
    """
    network = Network.from_text("S + I -> 2 I @ infection; I -> R @ recovery")
    parameters = {"infection": 0.02, "recovery": 5.0}
    return Model(network, parameters, {"S": 1980, "I": 20}, np.linspace(0.0, 1.0, 101), "arXiv:2404.07049")


def association() -> Model:
    """Bimolecular association, A + B <-> C with propensities k_on A B and k_off C, from unbound molecules.

    Stationary law of the complexes n ∝ (k_on/k_off)ⁿ / (n! (N_A − n)! (N_B − n)!); d⟨n⟩/d ln(k_on/k_off) is its variance. Time in
    units of 1/k_off.

    Source: the relaxing system of Burger, Kofler, Heinrich and Gerland 2026, arXiv:2604.02121; populations 10 and 10 and affinity 1
    are this library's choice.
    """
    network = Network.from_text("A + B <-> C @ k_on, k_off")
    return Model(network, {"k_on": 1.0, "k_off": 1.0}, {"A": 10, "B": 10}, _times(4.0), "arXiv:2604.02121; values chosen here")


def telegraph() -> Model:
    """A gene that switches off and on and makes mRNA while it is on: transcription in bursts.

    All propensities are linear (`exact.linear_moments`). Stationary mRNA is Poisson with a mean of transcription/decay times a
    Beta(on/decay, off/decay) variable: mean 10 and variance 35 here. Time in mRNA lifetimes.

    Source: Peccoud and Ycart 1995, doi:10.1006/tpbi.1995.1027; the values are this library's choice.
    """
    network = Network.from_text("off <-> on @ k_on, k_off; on -> on + mRNA @ transcription; mRNA -> 0 @ decay")
    parameters = {"k_on": 1.5, "k_off": 1.5, "transcription": 20.0, "decay": 1.0}
    return Model(network, parameters, {"off": 1}, _times(5.0), "doi:10.1006/tpbi.1995.1027; values chosen here")


def lotka_volterra() -> Model:
    """Prey and predators: neutral cycles that noise widens until one side dies out. About 30,000 events per unit time.

    Propensities birth · prey, predation · prey · predator, death · predator; the fixed point is (1000, 1000), where it starts.

    Source: the Lotka reactions of Gillespie 1977, doi:10.1021/j100540a008.
    """
    network = Network.from_text("prey -> 2 prey @ birth; prey + predator -> 2 predator @ predation; predator -> 0 @ death")
    parameters = {"birth": 10.0, "predation": 0.01, "death": 10.0}
    return Model(network, parameters, {"prey": 1000, "predator": 1000}, _times(10.0), "doi:10.1021/j100540a008")


def hill_repressilator(*, exponent: int = 3) -> Model:
    """Three proteins in a ring, each repressing the next through a Hill function; period about 4.7, 99 events per unit time.

    Production of P_i with propensity k_p / (1 + (P_{i−1}/K_d)^exponent), decay k_d P_i; time in protein lifetimes. A smaller K_d (stronger
    binding) gives longer periods, up to 7.3 for K_d = 2.

    Source: the ring of Elowitz and Leibler 2000, doi:10.1038/35002125, reduced to proteins. Burger et al. 2026, arXiv:2604.02121, infer a
    repressilator; its form and values there are not known, these are this library's choice.
    """
    text = "; ".join(f"0 -> P{i} @ production_{i}; P{i} -> 0 @ k_d" for i in (1, 2, 3))
    parameters = {"k_p": 50.0, "k_d": 1.0, "K_d": 10.0}
    production = {f"production_{i}": _hill_production(f"P{(i - 2) % 3 + 1}", exponent) for i in (1, 2, 3)}
    network = Network.from_text(text, propensities=production)
    return Model(network, parameters, {"P1": 25}, _times(16.0), "after doi:10.1038/35002125; values chosen here")


def promoter_repressilator(*, sites: int = 3, bound_decay: bool = True) -> Model:
    """Three genes in a ring, each with a promoter that binds up to `sites` repressors: mass action only.

    Promoter i with l bound repressors is the species `Gi_l`. Binding k_on P_{i−1} Gi_l, unbinding (l + 1) k_off, production k_p from the free
    promoter Gi_0 alone, decay k_d of free proteins and, with `bound_decay`, of bound ones too. Time in protein lifetimes. One site
    hardly oscillates, two weakly, three clearly: period about 10 and 70 events per unit time.

    Args:
        sites: binding sites of a promoter, at least 1.
        bound_decay: whether bound repressors decay (each with k_d, which frees its site).

    Source: explicit binding after Loinger and Biham 2007, doi:10.1103/PhysRevE.76.051917, arXiv:0710.1421; the values are this library's
    choice.
    """
    if sites < 1:
        raise ValueError(f"expected at least 1 binding site, received sites={sites}")
    reactions = []
    for gene, repressor in ((1, 3), (2, 1), (3, 2)):
        reactions += [f"G{gene}_0 -> G{gene}_0 + P{gene} @ k_p", f"P{gene} -> 0 @ k_d"]
        for bound in range(sites):
            free, taken = f"G{gene}_{bound}", f"G{gene}_{bound + 1}"
            reactions += [f"{free} + P{repressor} -> {taken} @ k_on", f"{taken} -> {free} + P{repressor} @ {bound + 1} k_off"]
            reactions += [f"{taken} -> {free} @ {bound + 1} k_d"] if bound_decay else []
    parameters = {"k_p": 30.0, "k_d": 1.0, "k_on": 5.0, "k_off": 1.0}
    initial_counts = {"P1": 25, "G1_0": 1, "G2_0": 1, "G3_0": 1}
    return Model(Network.from_text("; ".join(reactions)), parameters, initial_counts, _times(30.0), "after arXiv:0710.1421; values chosen here")


def _times(horizon: float) -> np.ndarray:
    return np.linspace(0.0, horizon, 51)


@cache
def _hill_production(repressor: str, exponent: int) -> Callable[[dict[str, jax.Array], dict[str, Any]], jax.Array]:
    """Made once per argument, so that two calls of hill_repressilator() give equal networks, which share their compiled simulation."""
    return lambda counts, parameters: parameters["k_p"] / (1 + (counts[repressor] / parameters["K_d"]) ** exponent)
