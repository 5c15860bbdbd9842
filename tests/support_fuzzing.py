"""Bad inputs: reactions, models and tables as people and broken programs write them, and what may come of them."""

import contextlib
import csv
import io
import os
import tempfile

from hypothesis import strategies as st

from ssagrad import Network, NetworkError
from ssagrad.calibration import model_from_text
from ssagrad.observations import Observations, ObservationsError

NAMES = st.sampled_from(["S", "I", "R", "X1", "_", "k", "infection", "0", "∅", "2", "é", "S I", "lambda", "__class__", "None"])
NUMBERS = st.sampled_from(["0", "1", "2", "-1", "1e400", "1e-400", "nan", "inf", "0.5", "1_0", "٣", "0x1", "1e", ".", "9" * 30, "2.", "1,5", "True"])
SYMBOLS = st.sampled_from(["->", "<->", "@", "+", "*", ";", "#", ",", "=", "(0)", "[", "]", "\n", " ", "\t", "\x00", "\\", '"', "'", "=>", "--", "\r", "\ufeff"])
ANYTHING = st.text(max_size=12)
PIECES = st.lists(st.one_of(NAMES, NUMBERS, SYMBOLS, ANYTHING), max_size=25).map(" ".join)

SIDES = st.lists(st.tuples(st.sampled_from(["", "2 ", "0 ", "3*", "999999999999 "]), NAMES).map("".join), max_size=3).map(" + ".join)
RATES = st.one_of(NAMES, NUMBERS, st.tuples(NUMBERS, NAMES).map(" * ".join), st.just("k, k"), st.just(""))
REACTIONS = st.tuples(SIDES, st.sampled_from([" -> ", " <-> ", " - ", " -> -> "]), SIDES, st.sampled_from([" @ ", " ", "@@"]), RATES).map("".join)
VALUES = st.tuples(NAMES, st.sampled_from(["", "(0)", "(1)", "[0]"]), st.sampled_from([" = ", "=", " "]), st.one_of(NUMBERS, NAMES)).map("".join)
STATEMENTS = st.one_of(REACTIONS, VALUES, NAMES.map("[{}]".format), PIECES)
REACTION_TEXT = st.one_of(st.lists(st.one_of(REACTIONS, PIECES), max_size=4).map("; ".join), PIECES, ANYTHING)
MODEL_TEXT = st.lists(STATEMENTS, max_size=8).map("\n".join)

HEADS = st.lists(st.sampled_from(["time", "replicate", "species", "count", "condition", "X", "Time", "", "é", "time"]), max_size=6)
CELLS = st.one_of(NUMBERS, NAMES, ANYTHING, st.just(""))
GOOD_HEAD = st.just(["time", "replicate", "species", "count"])


@st.composite
def tables(draw):
    """Bytes of a CSV file, of any kind of brokenness."""
    head = draw(st.one_of(GOOD_HEAD, HEADS))
    row = st.tuples(st.sampled_from(["0", "1", "2.5"]), st.sampled_from("ab"), st.sampled_from(["X", "Y"]), st.sampled_from(["3", "4", "0"])).map(list)
    rows = draw(st.lists(st.one_of(row, row, st.lists(CELLS, max_size=6)), max_size=8))
    out = io.StringIO()
    writer = csv.writer(out, delimiter=draw(st.sampled_from(",;\t")), quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])))
    with contextlib.suppress(csv.Error):
        writer.writerows([head, *rows])
    data = bytearray(out.getvalue().encode("utf-8", "surrogatepass"))
    for place, byte in draw(st.lists(st.tuples(st.integers(0, max(0, len(data) - 1)), st.integers(0, 255)), max_size=2)):
        if data:
            data[place] = byte
    return bytes(data)


def read_reactions_from(text):
    """Whether reactions could be read; only the library's own error may come."""
    try:
        network = Network.from_text(text)
    except NetworkError:
        return False
    assert str(network) and network.species == Network.from_text(str(network), species=network.species).species
    return True


def read_model_from(text):
    """Whether a model could be read."""
    try:
        model = model_from_text(text)
    except NetworkError:
        return False
    assert set(model.network.parameter_names) <= set(model.parameters)
    return True


def read_table_from(data):
    """Whether a table could be read, from a folder that stays as it was."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "counts.csv")
        with open(path, "wb") as file:
            file.write(data)
        try:
            found = Observations.read(path)
        except ObservationsError as error:
            assert "counts.csv" in str(error) or "condition" in str(error)
            return False
        finally:
            assert os.listdir(folder) == ["counts.csv"]
    for one in found.conditions:
        assert one.counts.shape == (len(one.replicates), len(one.times), len(found.species))
        found.moments(one.name)
    return True


KINDS = {"reactions": (REACTION_TEXT, read_reactions_from), "models": (MODEL_TEXT, read_model_from), "tables": (tables(), read_table_from)}
