"""`python -m ssagrad run | check | sync`: the notebooks from the command line; `fit`: your own model and data."""

import argparse
import sys
from pathlib import Path

from ssagrad.publish import PROFILES, project_root

EXAMPLES = """examples:
  python -m ssagrad run                                     all notebooks, small sizes, into figures/quick and reports/quick
  python -m ssagrad run --profile paper --resume            what is not fresh in figures/ and reports/
  python -m ssagrad run --only 20_sir_surface --set seed=7  one notebook with another seed, into figures/custom and reports/custom
"""
FIT = """Fit rate constants to counts and write a report with figures into a folder. The model is SBML (.xml, .sbml) or text
with a statement a line: reactions 'S + I -> 2 I @ infection', values 'infection = 0.02', molecules 'S(0) = 1980', and
'[name]' before what is different under that condition. The data are a table with the columns time, replicate, species,
count, and condition if there are several; or time, replicate and a column for each species. Counts of one path that
carry measurement errors are fitted with --noise."""
FIT_EXAMPLES = """examples:
  python -m ssagrad fit model.xml counts.csv --free k1,k2
  python -m ssagrad fit model.txt counts.csv --output folder --resume    goes on after Ctrl-C
  python -m ssagrad fit                                                  an example, made on the spot, into example_fit
"""
SYNC = """Make notebooks/*.ipynb from notebooks/*.py. A twin has no outputs but the table of its verdict cell (nbval compares it
with what it gets): from the last quick run if that is fresh, else as it was. Also writes reports/index.html and
reports/README.md anew from the reports. Edits made in an .ipynb alone are lost: edit the .py, or use JupyterLab, which
saves both."""


def parser():
    """The command line."""
    formatter = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser("python -m ssagrad", description=__doc__, epilog=EXAMPLES, formatter_class=formatter)
    commands = top.add_subparsers(dest="command", required=True, metavar="run | check | sync | fit | data")
    run = commands.add_parser("run", help="run notebooks, publish figures and claims", epilog=EXAMPLES, formatter_class=formatter)
    run.add_argument("--profile", choices=PROFILES, default="quick", help="sizes: the notebooks' own (quick, default) or the paper's")
    run.add_argument("--only", nargs="+", action="extend", default=[], metavar="STEM", help="these notebooks")
    run.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", dest="assignments",
                     help="other values of parameters; results go to figures/custom and reports/custom")  # fmt: skip
    run.add_argument("--resume", action="store_true", help="leave out what is fresh")
    run.add_argument("--executor", choices=("serial", "processes", "dask"), default="serial", help="run several at once (default: one by one)")
    run.add_argument("--workers", type=int, default=2, metavar="N", help="processes of this machine (default: 2)")
    run.add_argument("--address", default=None, metavar="TCP", help="of a dask scheduler whose workers see this folder (default: workers here)")
    commands.add_parser("check", help="say what is stale and how to renew it; exit status 1 if anything is")
    commands.add_parser("sync", help="make the .ipynb twins of notebooks/*.py", description=SYNC, formatter_class=formatter)
    fitting = commands.add_parser("fit", help="fit your own model to your own data", description=FIT, epilog=FIT_EXAMPLES, formatter_class=formatter)
    fitting.add_argument("model", nargs="?", default="", help="SBML or text; left out with the data: an example")
    fitting.add_argument("data", nargs="?", default="", help="CSV")
    fitting.add_argument("--free", default="", metavar="K1,K2", help="parameters to fit (default: all that laws read)")
    fitting.add_argument("--estimator", default="auto", help="auto (default), exact, dynkin_controls, score_function, ...")
    fitting.add_argument("--noise", type=float, default=0.0, help="standard deviation of a measurement, in molecules, of single paths")
    fitting.add_argument("--seed", type=int, default=0, help="of all random numbers (default: 0)")
    fitting.add_argument("--starts", type=int, default=4, help="first guesses (default: 4)")
    fitting.add_argument("--paths", type=int, default=256, help="simulated in each step and condition (64 or more, default: 256)")
    fitting.add_argument("--output", default="", metavar="FOLDER", help="where the report goes (default: beside you, MODEL_fit)")
    fitting.add_argument("--resume", action="store_true", help="go on from the checkpoint in that folder")
    data = commands.add_parser("data", help="bring the files of an experiment, verified by checksum")
    data.add_argument("name", choices=["vi-hds"], help="plate-reader data of Roeder et al. 2019 (Microsoft, MIT licence)")
    data.add_argument("--from", default=None, dest="source", metavar="FOLDER", help="a copy that you have (default: the public repository, needs internet)")
    data.add_argument("--to", default=None, metavar="FOLDER", help="where they go (default: data/vi-hds of the project, or $SSAGRAD_DATA/vi-hds)")
    return top


def run(root, options):
    """Run notebooks and say where the results are."""
    from ssagrad.pipeline import commands

    where = {"executor": options.executor, "workers": options.workers, "address": options.address}
    folders = commands.run(root, profile=options.profile, only=options.only, assignments=options.assignments, resume=options.resume, **where)
    print(f"Figures and claims: {folders.reports.relative_to(root) / 'index.html'}")
    return 0


def check(root, options):
    """Print what is stale, why, and the command that renews it."""
    from ssagrad.pipeline import commands

    found = commands.check(root)
    for what, why, renew in found:
        print(f"{what}: {why}\n    {renew}")
    print(f"{len(found)} stale." if found else "All results are fresh.")
    return 1 if found else 0


def sync(root, options):
    """Make the twins and say which changed."""
    from ssagrad.pipeline import commands

    written, without = commands.sync(root)
    print(f"Written: {', '.join(written)}." if written else "All twins were in step.")
    for stem in without:
        renew = f"{commands.command(root)} run --only {stem} && {commands.command(root)} sync"
        print(f"{stem}: no stored verdict that fits its source; make one: {renew}")
    return 0


def fit(root, options):
    """Check a user's files, and run the template on them."""
    from ssagrad import calibration
    from ssagrad.pipeline.sources import PipelineError
    from ssagrad.pipeline.template import CHECKPOINT, run_template

    output = Path(options.output or f"{Path(options.model).stem or 'example'}_fit")
    try:
        sizes = {"seed": options.seed, "num_starts": options.starts, "num_paths": options.paths}
        calibration.check_files(options.model, options.data, options.free, noise=options.noise, estimator=options.estimator, **sizes)
    except (ValueError, OSError, ImportError) as error:
        raise PipelineError(str(error)) from None
    files = {"model": str(Path(options.model).resolve()), "data": str(Path(options.data).resolve())} if options.model else {}
    values = {"free": options.free, "estimator": options.estimator, "noise": options.noise, "seed": options.seed}
    values |= {"num_starts": options.starts, "num_paths": options.paths}
    try:
        page = run_template(root, "90_your_own_model", files | values, output, resume=options.resume)
    except KeyboardInterrupt:
        kept = (output / CHECKPOINT).is_file()
        words = f"What is done is in {output / CHECKPOINT}; the same command with --resume goes on." if kept else "Nothing was done yet."
        print(f"\nStopped. {words} An older report is as it was.", file=sys.stderr)
        return 130
    print(f"Report: {page}")
    return 0


def data(root, options):
    """Bring the files of an experiment and say where they are."""
    from ssagrad.hierarchy import sources
    from ssagrad.pipeline.sources import PipelineError

    try:
        place = Path(sources.bring(source=options.source, to=options.to))
    except (sources.DataError, ImportError, OSError) as error:
        raise PipelineError(str(error)) from None
    print(f"Files: {place.relative_to(root) if place.is_relative_to(root) else place}")
    return 0


def main(arguments=None):
    """Run one command; returns the exit status: 0 done, 1 refused, failed or stale, 2 no project here, 130 interrupted."""
    options = parser().parse_args(arguments)
    root = project_root(Path(__file__).parent if options.command == "fit" else None)
    if root is None or not (Path(root) / "notebooks").is_dir():
        print("No project here: expected pyproject.toml beside a folder notebooks.", file=sys.stderr)
        return 2
    try:
        from ssagrad.pipeline.sources import PipelineError
    except ImportError as error:
        print(f"Notebooks need more packages ({error}): pip install 'ssagrad[notebooks]', or make setup.", file=sys.stderr)
        return 2
    try:
        return {"run": run, "check": check, "sync": sync, "fit": fit, "data": data}[options.command](root, options)
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Results of finished notebooks are in place, all others are as they were; --resume goes on.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
