"""Events do what SBML says and when it says so: in documents in which nothing is random the whole path is known beforehand."""

import jax
import numpy as np
import pytest
from support_sbml import compartment, document, event, initial, parameter, reaction, rule, species, still

from ssagrad import SimulationError, sbml, simulate

TIMES = np.arange(0.0, 7.0)


def path(text, name="X", times=TIMES, **options):
    """The one path that there is, on which three must agree."""
    paths = sbml.read(text).simulate(jax.random.key(0), times, num_paths=3, **options)
    values = np.asarray(paths.samples(name))
    assert (values == values[0]).all()
    return values[0].tolist()


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        ("time >= 2", [1, 1, 9, 9, 9, 9, 9]),
        ("time > 2", [1, 1, 1, 9, 9, 9, 9]),
        ("2 <= time", [1, 1, 9, 9, 9, 9, 9]),
        ("time - 2 >= 0", [1, 1, 9, 9, 9, 9, 9]),
        ("2 * time >= 2 + 3", [1, 1, 1, 9, 9, 9, 9]),
        ("time / 2 > at", [1, 1, 1, 1, 9, 9, 9]),
        ("time == 3", [1, 1, 1, 9, 9, 9, 9]),
        ("!(time < 3)", [1, 1, 1, 9, 9, 9, 9]),
        ("time >= 2 && X < 1", [1] * 7),
        ("time >= 2 && X < 2", [1, 1, 9, 9, 9, 9, 9]),
        ("time > 50", [1] * 7),
        ("time >= 0", [1] * 7),
        ("1 < 2", [1] * 7),
    ],
)
def test_a_trigger_of_time_fires_once_at_its_time(trigger, expected):
    """At an observation time the effect is seen, unless the comparison is strict; what is true from the start never becomes true."""
    assert path(still(species("X", 1), parameter("at", 1.5), event("e", trigger, {"X": "9"}))) == expected


def test_an_event_between_observations_and_twice():
    """time in (1.25, 1.5) or from 3.5 on: two rising edges, none at an observation."""
    text = still(species("X", 1), event("e", "(time > 1.25 && time < 1.5) || time >= 3.5", {"X": "2 * X"}))
    assert path(text) == [1, 1, 2, 2, 4, 4, 4]
    assert path(text, times=[1.4]) == [2]
    assert path(text, times=[1.2, 6.0]) == [1, 4]


def test_a_trigger_that_is_true_at_the_start_fires_if_its_initial_value_is_false():
    for trigger in ("time >= 0", "X > 0", "1 < 2"):
        assert path(still(species("X", 1), event("e", trigger, {"X": "9"}, initial_value=False))) == [9] * 7
    assert path(still(species("X", 1), event("e", "time > 0", {"X": "9"}, initial_value=False))) == [1] + [9] * 6


def test_values_from_the_trigger_time_or_of_the_moment():
    """Two events at one time: both see the old state, or the second one sees what the first one has done."""
    def text(from_trigger):
        return still(
            species("X", 1), species("Y", 5), event("first", "time >= 2", {"X": "Y"}, priority="2"),
            event("second", "time >= 2", {"Y": "X"}, priority="1", from_trigger=from_trigger),
        )  # fmt: skip

    assert path(text(True), "X")[2:] == [5] * 5 and path(text(True), "Y")[2:] == [1] * 5
    assert path(text(False), "Y")[2:] == [5] * 5


def test_priorities_are_values_at_the_moment_of_choice():
    events = [event("a", "time >= 1", {"X": "10 * X + 1"}, priority="2 - X", from_trigger=False)]
    events += [event("b", "time >= 1", {"X": "10 * X + 2"}, priority="1.5 - X / 9", from_trigger=False)]
    assert path(still(species("X", 0), *events))[1] == 12
    assert path(still(species("X", 9), *events))[1] == 921


def test_without_priorities_the_order_is_that_of_the_document_and_priorities_come_first():
    events = [event(name, "time >= 1", {"X": f"10 * X + {i}"}, from_trigger=False, priority=p) for i, (name, p) in enumerate([("a", None), ("b", None), ("c", "-5")])]
    assert path(still(species("X", 0), *events))[1] == 201


def test_equal_priorities_are_an_error_where_the_order_matters():
    same = [event("a", "time >= 1", {"X": "X + 1"}, priority="1", from_trigger=False), event("b", "time >= 1", {"X": "2 * X"}, priority="1", from_trigger=False)]
    with pytest.raises(SimulationError, match="priority"):
        path(still(species("X", 0), *same))
    apart = [event("a", "time >= 1", {"X": "7"}, priority="1"), event("b", "time >= 1", {"Y": "8"}, priority="1")]
    assert path(still(species("X", 0), species("Y", 0), *apart), "Y")[1] == 8


def test_an_event_that_does_not_persist_is_forgotten_when_its_trigger_falls():
    """The first event turns the trigger of the second one off before that is executed."""
    for persistent, expected in ((True, 7), (False, 1)):
        events = [event("a", "time >= 1", {"Y": "1"}, priority="2"), event("b", "time >= 1 && Y < 1", {"X": "7"}, priority="1", persistent=persistent)]
        assert path(still(species("X", 1), species("Y", 0), *events))[2] == expected


def test_events_set_off_events():
    """A chain in which each event turns the trigger of the next, at one moment; and one event that is triggered twice in it."""
    chain = [event("a", "time >= 1", {"A": "1"}), event("b", "A > 0", {"B": "1"}), event("c", "B > 0", {"X": "X + 5"}, from_trigger=False)]
    assert path(still(species("X", 0), species("A", 0), species("B", 0), *chain)) == [0, 5, 5, 5, 5, 5, 5]
    steps = [event(f"s{i}", "time >= 1", {"A": str(i % 2)}, priority=str(9 - i)) for i in range(1, 5)]
    count = event("count", "A > 0.5", {"X": "X + 1"}, priority="0", from_trigger=False)
    assert path(still(species("X", 0), species("A", 0), *steps, count))[1] == 2


def test_events_without_end_are_an_error():
    loop = [event("a", "X == 1", {"X": "2"}, from_trigger=False), event("b", "X == 2", {"X": "1"}), event("start", "time >= 1", {"X": "1"})]
    with pytest.raises(SimulationError, match="without end"):
        path(still(species("X", 0), *loop))


def test_events_with_a_delay_of_0_that_toggle_each_other_are_an_error():
    """Each turns the trigger of the other at once: an error of the library that says so, as without a delay; two that stop by themselves are none."""
    up, down = event("up", "time >= 1 && p < 1", {"p": "1"}, delay="0"), event("down", "time >= 1 && p >= 1", {"p": "0"}, delay="0")
    elements = [species("X", 0), parameter("p", 0, constant=False)]
    with pytest.raises(SimulationError, match="delay of 0 set off one another without end"):
        path(still(*elements, up, down))
    once = event("down", "time >= 1 && time < 4 && p >= 1", {"X": "X + 1"}, delay="0")
    assert path(still(*elements, up, once)) == [0, 1, 1, 1, 1, 1, 1]


def test_delays_of_events_that_time_triggers():
    """Executed later with the values of the trigger time or of that moment; and dropped if the trigger falls and does not persist."""
    first = event("first", "time >= 1", {"X": "Y"}, delay="1.5", from_trigger=True)
    later = event("later", "time >= 1", {"X": "Y"}, delay="wait / 2", from_trigger=False)
    change = event("change", "time >= 2", {"Y": "8"})
    for delayed, expected in ((first, 3), (later, 8)):
        assert path(still(species("X", 0), species("Y", 3), parameter("wait", 3), delayed, change)) == [0, 0, 0, expected, expected, expected, expected]
    pulse = event("pulse", "time >= 1 && time < 2", {"X": "5"}, delay="2", persistent=False)
    assert path(still(species("X", 0), pulse)) == [0] * 7
    assert path(still(species("X", 0), pulse.replace('persistent="false"', 'persistent="true"'))) == [0, 0, 0, 5, 5, 5, 5]


def test_periodic_doses_by_a_parameter_that_each_event_moves():
    """The next time is what the last event made it; variables that events assign are seen among the species."""
    dose = event("dose", "time >= next", {"X": "X + 10", "next": "next + 2"})
    text = still(species("X", 0), parameter("next", 1, constant=False), dose)
    assert path(text) == [0, 10, 10, 20, 20, 30, 30]
    assert path(text, "next") == [1, 3, 3, 5, 5, 7, 7]
    assert path(text, parameters={"next": 2.5}) == [0, 0, 0, 10, 10, 20, 20]


def test_assignments_to_parameters_volumes_concentrations_and_boundary_species():
    """A concentration of 3 in a volume that has just become 4 are 12 molecules; another volume leaves the molecules as they are."""
    events = [event("v", "time >= 1", {"cell": "4", "k": "k / 2"}), event("c", "time >= 2", {"C": "3", "B": "2.5"}), event("v2", "time >= 3", {"cell": "1"})]
    elements = [compartment("cell", 2, constant=False), species("C", 8, counts=False), species("B", 1, boundary=True), parameter("k", 5, constant=False)]
    text = still(*elements, *events, end="C")
    assert path(text, "C") == [8, 8, 12, 12, 12, 12, 12]
    assert path(text, "cell") == [2, 4, 4, 1, 1, 1, 1] and path(text, "k")[:2] == [5, 2.5] and path(text, "B")[1:3] == [1, 2.5]


def test_a_count_that_is_none_is_an_error():
    for value in ("2.5", "X - 3", "0 / 0"):
        with pytest.raises(SimulationError, match="whole number"):
            path(still(species("X", 1), event("e", "time >= 1", {"X": value})))


def test_a_trigger_of_counts_belongs_to_the_reactions_that_can_turn_it():
    """Deaths one by one from 5, refilled whenever 2 are left: never fewer than 3 are seen, and Y counts the refills."""
    refill = event("refill", "X <= 2", {"X": "5", "Y": "Y + 1"})
    elements = [species("X", 5), species("Y", 0), species("Z", 0), parameter("k", 1)]
    reactions = [reaction("Death", "X", "", "k * X"), reaction("Other", "", "Z", "k")]
    model = sbml.read(document(*elements, *reactions, refill))
    death, other = model.network.reactions
    assert death.change is not None and other.change is None
    state = {"X": np.float32(3), "Y": np.float32(0), "Z": np.float32(0)}
    assert {name: float(x) for name, x in death.change(state, model.parameters).items()} == {"X": 2, "Y": 1}
    assert {name: float(x) for name, x in death.change(state | {"X": np.float32(5)}, model.parameters).items()} == {"X": -1, "Y": 0}
    paths = model.simulate(jax.random.key(1), np.linspace(0, 5, 26), num_paths=200, record=("event_counts",))
    x, y = np.asarray(paths.samples("X")), np.asarray(paths.samples("Y"))
    deaths = np.asarray(paths.event_counts)[..., 0]
    assert x.min() == 3 and x.max() == 5 and np.array_equal(x, 5 - deaths + 3 * y)


def test_sums_and_numbers_of_events_go_on_across_the_stops():
    """∫ x and firings, with stops at times that are observed and at such that are not, agree with the path itself."""
    elements = [species("X", 50), parameter("k", 1), reaction("Death", "X", "", "k * X")]
    stops = [event("a", "time >= 0.5", {"X": "X + 10"}, from_trigger=False), event("b", "time >= 1.3", {"X": "X + 7"}, from_trigger=False)]
    model, times = sbml.read(document(*elements, *stops)), np.array([0.0, 0.25, 0.5, 1.0, 2.0])
    paths = model.simulate(jax.random.key(1), times, num_paths=100, record=("event_counts", "time_integrals"))
    firings, x = np.asarray(paths.event_counts)[..., 0], np.asarray(paths.samples("X"))
    assert np.array_equal(x, 50 - firings + np.array([0, 0, 10, 10, 17])) and np.array_equal(paths.num_events, firings[:, -1])
    integrals = np.asarray(paths.time_integrals)[..., 0]
    assert integrals.shape == (100, 5) and (integrals[:, 0] == 0).all() and (np.diff(integrals, axis=1) > 0).all()
    assert abs(np.mean(integrals[:, -1] - firings[:, -1])) < 4 * np.std(integrals[:, -1] - firings[:, -1]) / 10  # ∫ k x and the firings: a martingale


def test_parameters_may_differ_from_path_to_path():
    text = still(species("X", 0), parameter("p", 1), parameter("q", 2, constant=False), event("e", "time >= 1", {"X": "10 * p + q", "q": "q + p"}))
    model = sbml.read(text)
    values = {name: np.full(3, value) for name, value in model.parameters.items()} | {"p": np.array([1.0, 2.0, 3.0])}
    paths = model.simulate(jax.random.key(0), TIMES, num_paths=3, parameters=values, parameters_per_path=True)
    assert np.asarray(paths.samples("X"))[:, 1].tolist() == [12, 22, 32] and np.asarray(paths.samples("q"))[:, 1].tolist() == [3, 4, 5]


def test_paths_that_would_stop_at_different_times_are_refused():
    model = sbml.read(still(species("X", 0), parameter("at", 1), event("e", "time >= at", {"X": "5"})))
    values = {name: np.full(2, value) for name, value in model.parameters.items()} | {"at": np.array([1.0, 2.0])}
    with pytest.raises(sbml.SbmlError, match="differs between paths"):
        model.simulate(jax.random.key(0), TIMES, num_paths=2, parameters=values, parameters_per_path=True)


def test_one_key_per_path_and_the_same_numbers_whatever_the_number_of_paths():
    elements = [species("X", 50), parameter("k", 1), reaction("Death", "X", "", "k * X"), event("a", "time >= 0.5", {"X": "X + 10"})]
    model = sbml.read(document(*elements))
    keys = jax.random.split(jax.random.key(3), 4)
    many = model.simulate(jax.random.clone(keys), [0.2, 1.0], num_paths=4)
    few = model.simulate(jax.random.clone(keys[:2]), [0.2, 1.0], num_paths=2)
    assert np.array_equal(many.counts[:2], few.counts)
    assert np.array_equal(model.simulate(jax.random.key(5), [1.0], num_paths=9).counts[:4], model.simulate(jax.random.key(5), [1.0], num_paths=4).counts)


def test_a_law_with_a_parameter_that_an_event_assigns_is_no_net_rate():
    """`reversible` said of a reaction whose law is never negative means nothing, also if an event assigns its rate constant."""
    halved = event("e", "time >= 1", {"k": "k / 2"})
    for law in ("k * X", "k * X * (X - 1) / 2"):
        text = document(species("X", 9), parameter("k", 1, constant=False), reaction("R", "X", "", law, reversible=True), halved)
        assert sbml.read(text).network.reaction_names == ("R",)
    with pytest.raises(sbml.SbmlError, match="net rate"):
        sbml.read(document(species("X", 9), parameter("k", 1, constant=False), reaction("R", "X", "", "k * X - k", reversible=True), halved))


def test_what_an_event_assigns_is_observed_by_its_own_name():
    """A boundary species that an event assigns is B, not the column that holds its change, for the ensemble and for `observable`; so is a species."""
    text = still(species("X", 3), species("B", 7, boundary=True), event("e", "time >= 2", {"B": "5"}))
    model = sbml.read(text)
    paths = model.simulate(jax.random.key(0), TIMES, num_paths=2)
    for name, expected in (("B", [7, 7, 5, 5, 5, 5, 5]), ("X", [3] * 7)):
        assert np.asarray(paths.mean(name)).tolist() == np.asarray(paths.mean(model.observable(name))).tolist() == expected
    with pytest.raises(sbml.SbmlError, match=r"unknown observable 'B_shift'; .* its species \['X', 'B'\]"):
        model.observable("B_shift")


def test_a_derived_parameter_that_events_change_starts_from_its_formula():
    elements = [species("X", 0), parameter("a", 2), parameter("b", constant=False), initial("b", "3 * a"), parameter("c", constant=False), rule("c", "b + 1")]
    text = still(*elements, event("e", "time >= 1", {"b": "b + 1"}), event("f", "time >= 2", {"X": "c"}))
    assert path(text)[2] == 8 and path(text, parameters={"a": 3.0})[2] == 11


@pytest.mark.parametrize(("name", "value"), [("start_time", 1.0), ("clock", "events"), ("on_exhausted", "freeze")])
def test_options_that_mean_nothing_with_events_are_refused(name, value):
    with pytest.raises(sbml.SbmlError, match=name):
        path(still(species("X", 0), event("e", "time >= 1", {"X": "5"})), **{name: value})


def test_events_inside_jit_are_refused():
    model = sbml.read(still(species("X", 0), event("e", "time >= 1", {"X": "5"})))
    with pytest.raises(sbml.SbmlError, match="known values"):
        jax.jit(lambda k: model.simulate(jax.random.key(0), TIMES, num_paths=2, parameters={"zero": k}).counts)(0.0)


def test_the_network_alone_says_where_it_needs_the_model():
    """A trigger of time and counts is part of the reactions, but only the model knows the time."""
    elements = [species("X", 5), parameter("k", 1), reaction("Death", "X", "", "k * X"), event("e", "time >= 1 && X < 3", {"X": "5"})]
    model = sbml.read(document(*elements))
    with pytest.raises(sbml.SbmlError, match=r"Model\.simulate"):
        model.network.reactions[0].change({"X": np.float32(3)}, model.parameters)
    x = np.asarray(model.simulate(jax.random.key(1), [0.9, 1.0, 3.0, 6.0], num_paths=300).samples("X"))
    assert x[:, 0].min() < 3 and x[:, 1:].min() == 3


def test_events_at_times_are_never_left_out_in_silence():
    """The network alone refuses to be simulated or differentiated, also where its reactions are plain mass action."""
    elements = [species("X", 5), parameter("k", 1), reaction("Death", "X", "", "k * X"), event("e", "time >= 1", {"X": "5"})]
    model = sbml.read(document(*elements))
    with pytest.raises(sbml.SbmlError, match=r"Model\.simulate"):
        simulate(jax.random.key(0), model.network, model.parameters, model.initial_counts, TIMES, num_paths=2)
