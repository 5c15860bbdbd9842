"""The history of descents: averages and rows hold what was really done, batches halve, plateaus are found by hand."""

import jax
import numpy as np
import pytest

from ssagrad.descents import Descents, Plateau, Seen, begin, extend, next_batch


def history(num_steps=(4, 1, 0)):
    """Three runs of at most four steps; parameters count the steps, and are repeated after the last."""
    taken = np.array(num_steps)
    steps = np.minimum(np.arange(5), taken[:, None]).astype(np.float32)
    losses = np.where(np.arange(4) < taken[:, None], 10 - steps[:, :4], np.nan)
    parameters = {"a": steps, "deep": {"b": steps + 100}, "many": np.stack([steps, -steps], -1)}
    return Descents(parameters, losses, losses + 1, losses > 8, {"events": losses * 2}, taken, np.full(3, -1))


def test_averages_are_over_the_last_share_of_the_steps_taken():
    """Half of 4 steps: iterates 3 and 4. Of one step: its result. Of none: the start."""
    assert history().averaged(0.5)["a"].tolist() == [3.5, 1.0, 0.0]
    assert history().averaged()["a"].tolist() == [4.0, 1.0, 0.0]
    assert history().averaged(1)["many"].tolist() == [[2.5, -2.5], [1.0, -1.0], [0.0, 0.0]]
    assert history().averaged()["a"].dtype == np.float32


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(ValueError, match=r"share of the steps in \(0, 1\]"):
        history().averaged(share)


def test_rows_are_the_steps_taken():
    """Five steps in all, each with the loss and the parameters at which it was taken; arrays of parameters are left out."""
    rows = history().rows()
    assert list(rows) == ["start", "step", "loss", "gradient_norm", "clipped", "events", "a", "deep.b"]
    assert rows["start"].tolist() == [0, 0, 0, 0, 1] and rows["step"].tolist() == [0, 1, 2, 3, 0]
    assert rows["a"].tolist() == [0, 1, 2, 3, 0] and rows["deep.b"].tolist() == [100, 101, 102, 103, 100]
    assert rows["loss"].tolist() == [10, 9, 8, 7, 10] and rows["clipped"].tolist() == [True, True, False, False, True]


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(ValueError, match="columns of different names"):
        history()._replace(records={"a": np.zeros((3, 4))}).rows()


@pytest.mark.parametrize("running, size", [(5, 5), (4, 5), (3, 3), (2, 2), (1, 1)])
def test_batches_halve(running, size):
    """Five runs are computed in batches of 5, 3, 2 or 1, filled up with copies of those that run."""
    batch = next_batch(np.arange(5) >= 5 - running)
    assert len(batch) == size and set(batch) == set(range(5 - running, 5))


def one_run(losses, *, widths, stop):
    """The step after which a run with these losses is stopped, when they come in chunks of the given widths."""
    fit, first = begin(np.zeros(1, np.float32), (), len(losses)), 0
    for width in widths:
        values = np.array(losses[first : first + width], np.float32)[:, None]
        fit, first = extend(fit, Seen(values, values, values, {}), (), first + width, clip=None, stop=stop), first + width
        if not fit.running[0]:
            break
    return int(fit.descents.num_steps[0])


@pytest.mark.parametrize("widths", [(8,), (4, 4), (3, 3, 2), (1,) * 8])
def test_a_plateau_is_where_two_means_differ_little(widths):
    """Means of pairs fall from 9.5 to 5.5, 8 to 4.5, 5.5 to 4.3, and then from 4.5 to 4.2, by 7 %: at the seventh loss, whatever the chunks."""
    losses = [10.0, 9.0, 7.0, 4.0, 5.0, 3.6, 4.8, 1.0]
    assert one_run(losses, widths=widths, stop=Plateau(2, 0.1)) == 7
    assert one_run(losses, widths=widths, stop=Plateau(2, 0.05)) == 8


def test_a_plateau_of_negative_losses_still_asks_for_lower_ones():
    """−10 to −11 is lower by 10 %, −11 to −11.2 is not."""
    assert one_run([-10.0, -11.0, -11.2, -20.0], widths=(4,), stop=Plateau(1, 0.05)) == 3


def test_history_does_not_change_the_starts():
    starts = {"x": np.zeros(2, np.float32)}
    fit = begin(starts, (), 3)
    fit.descents.parameters["x"][:] = 1
    assert (starts["x"] == 0).all() and jax.tree.leaves(fit.states) == []
