"""The five reaction networks that every simulator in the benchmark runs, written once as data.

A reaction is its text and either the name of a mass-action rate or a rate law, an arithmetic expression of species and
parameters. Each peer reads what it can use: `mass_action` where the peer has a fast path for it, `law` otherwise. Two equal
reactants count as x (x - 1) / 2, here and in every peer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

NUM_TIMES = 51
READOUTS = (10, 25, 50)  # the output times at which a peer's means are checked


@dataclass(frozen=True)
class Reaction:
    """`text` as in "S + I -> 2 I"; `rate` names a mass-action constant unless `law` gives the propensity itself."""

    name: str
    text: str
    rate: str | None = None
    law: str | None = None

    @cached_property
    def reactants(self) -> dict[str, int]:
        """Molecules consumed, by species."""
        return _side(self.text.split("->")[0])

    @cached_property
    def products(self) -> dict[str, int]:
        """Molecules made, by species."""
        return _side(self.text.split("->")[1])

    @property
    def propensity(self) -> str:
        """The propensity as an expression of species and parameters."""
        if self.law is not None:
            return self.law
        factors = [self.rate]
        for species, order in self.reactants.items():
            factors.append({1: species, 2: f"{species} * ({species} - 1) / 2"}[order])
        return " * ".join(factors)


@dataclass(frozen=True)
class System:
    """A network with its parameters (in the order in which the C++ program reads them), start and horizon."""

    name: str
    title: str
    reactions: tuple[Reaction, ...]
    parameters: dict[str, float]
    start: dict[str, int]  # every species, in the order of all arrays
    horizon: float
    target_over_peers: float = 20.0
    target_over_cpp: float = 4.0

    @property
    def species(self) -> tuple[str, ...]:
        """Names in the order of all arrays."""
        return tuple(self.start)

    @property
    def times(self) -> list[float]:
        """The 51 output times, the first of them 0."""
        return [self.horizon * k / (NUM_TIMES - 1) for k in range(NUM_TIMES)]

    @property
    def stoichiometry(self) -> list[list[int]]:
        """Change of each species [reaction][species]."""
        return [
            [reaction.products.get(s, 0) - reaction.reactants.get(s, 0) for s in self.species]
            for reaction in self.reactions
        ]


def propensity_function(system: System, stack):
    """All propensities as one function of a vector of counts, with the parameters' values folded in.

    `stack` joins the list of propensities, for instance `jax.numpy.stack`.
    """
    arguments = ", ".join(system.species)
    body = ", ".join(f"1.0 * ({reaction.propensity})" for reaction in system.reactions)
    propensities = eval(f"lambda {arguments}: [{body}]", dict(system.parameters))

    def evaluate(counts):
        values = propensities(*[counts[i] for i in range(len(system.species))])
        return stack([value + 0.0 * counts[0] for value in values])

    return evaluate


def _side(text: str) -> dict[str, int]:
    """{"I": 2} of "2 I"; {} of "0"."""
    counted: dict[str, int] = {}
    for term in text.split("+"):
        number, _, species = term.strip().rpartition(" ")
        if species != "0":
            counted[species] = counted.get(species, 0) + int(number or 1)
    return counted


def _repressor(gene: int) -> int:
    return (gene + 1) % 3 + 1  # gene 1 is repressed by 3, 2 by 1, 3 by 2


def _repressilator() -> tuple[Reaction, ...]:
    reactions = []
    for i in (1, 2, 3):
        ratio = f"(P{_repressor(i)} / threshold)"
        reactions += [
            Reaction(f"transcription{i}", f"0 -> M{i}", law=f"leak + transcription / (1 + {ratio} * {ratio})"),
            Reaction(f"mrna_decay{i}", f"M{i} -> 0", "mrna_decay"),
            Reaction(f"translation{i}", f"M{i} -> M{i} + P{i}", "translation"),
            Reaction(f"protein_decay{i}", f"P{i} -> 0", "protein_decay"),
        ]
    return tuple(reactions)


def _hill_repressilator() -> tuple[Reaction, ...]:
    reactions = []
    for i in (1, 2, 3):
        ratio = f"(P{_repressor(i)} / K_d)"
        reactions += [
            Reaction(f"production{i}", f"0 -> P{i}", law=f"k_p / (1 + {ratio} * {ratio} * {ratio})"),
            Reaction(f"decay{i}", f"P{i} -> 0", "k_d"),
        ]
    return tuple(reactions)


def _promoter_repressilator() -> tuple[Reaction, ...]:
    """Promoter i binds up to two repressors; G{i}{l} is 1 when l are bound, and only G{i}0 is transcribed."""
    reactions = []
    for i in (1, 2, 3):
        repressor = f"P{_repressor(i)}"
        reactions += [
            Reaction(f"bind{i}0", f"{repressor} + G{i}0 -> G{i}1", "k_on"),
            Reaction(f"bind{i}1", f"{repressor} + G{i}1 -> G{i}2", "k_on"),
            Reaction(f"unbind{i}1", f"G{i}1 -> G{i}0 + {repressor}", "k_off"),
            Reaction(f"unbind{i}2", f"G{i}2 -> G{i}1 + {repressor}", "k_off_two"),
            Reaction(f"production{i}", f"G{i}0 -> G{i}0 + P{i}", "k_p"),
            Reaction(f"decay{i}", f"P{i} -> 0", "k_d"),
        ]
    return tuple(reactions)


SYSTEMS = {
    system.name: system
    for system in (
        System(
            "SIR",
            "SIR epidemic, 2 reactions",
            (Reaction("infection", "S + I -> 2 I", "beta"), Reaction("recovery", "I -> R", "gamma")),
            {"beta": 0.3 / 1000, "gamma": 0.1},
            {"S": 990, "I": 10, "R": 0},
            horizon=50.0,
            target_over_peers=40.0,
            target_over_cpp=6.0,
        ),
        System(
            "BDD",
            "birth-death with dimerisation, 4 reactions",
            (
                Reaction("birth", "0 -> P", "k_birth"),
                Reaction("death", "P -> 0", "k_death"),
                Reaction("dimerisation", "2 P -> D", "k_dimer"),
                Reaction("dissociation", "D -> 2 P", "k_split"),
            ),
            {"k_birth": 10.0, "k_death": 0.1, "k_dimer": 0.002, "k_split": 0.1},
            {"P": 0, "D": 0},
            horizon=50.0,
        ),
        System(
            "REP12",
            "repressilator with mRNA and protein, 12 reactions",
            _repressilator(),
            {
                "leak": 0.05,
                "transcription": 5.0,
                "threshold": 10.0,
                "mrna_decay": 1.0,
                "translation": 2.0,
                "protein_decay": 0.3,
            },
            {"M1": 0, "M2": 0, "M3": 0, "P1": 20, "P2": 0, "P3": 0},
            horizon=50.0,
        ),
        System(
            "HILL",
            "Hill repressilator, 6 reactions",
            _hill_repressilator(),
            {"k_p": 50.0, "k_d": 1.0, "K_d": 10.0},
            {"P1": 25, "P2": 0, "P3": 0},
            horizon=20.0,
        ),
        System(
            "PROM",
            "promoter repressilator, 18 reactions",
            _promoter_repressilator(),
            {"k_p": 30.0, "k_d": 1.0, "k_on": 5.0, "k_off": 1.0, "k_off_two": 2.0},
            {"P1": 25, "P2": 0, "P3": 0} | {f"G{i}{bound}": int(bound == 0) for i in (1, 2, 3) for bound in (0, 1, 2)},
            horizon=50.0,
        ),
    )
}
