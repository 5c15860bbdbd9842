"""One's own model and data: from a file with reactions and a table of counts to estimates with error bars, and what to think of them.

    from ssagrad.calibration import fit
    found = fit("model.txt", "counts.csv", free=("k1", "k2"))       # or SBML; `python -m ssagrad fit` writes a report with figures
    found                                                           # estimates, intervals, diagnosis
    found.undetermined                                              # combinations of parameters that the data leave open

`calibrate.fit` says how it works; `model_text` has the format of models in text, `ssagrad.observations` that of tables.
"""

from ssagrad.calibration.calibrate import fit
from ssagrad.calibration.example import check_files, model_and_data, names_of
from ssagrad.calibration.identifiability import UNDETERMINED
from ssagrad.calibration.model_text import CalibrationError, ModelText, model_from_text, read_model
from ssagrad.calibration.record import Calibration

__all__ = [
    "UNDETERMINED",
    "Calibration",
    "CalibrationError",
    "ModelText",
    "check_files",
    "fit",
    "model_and_data",
    "model_from_text",
    "names_of",
    "read_model",
]
