"""`python -m ssagrad run | check | sync`: the notebooks from the command line."""

import argparse
import sys
from pathlib import Path

from ssagrad.publish import PROFILES, project_root

EXAMPLES = """examples:
  python -m ssagrad run                                     all notebooks, small sizes, into figures/quick and reports/quick
  python -m ssagrad run --profile paper --resume            what is not fresh in figures/ and reports/
  python -m ssagrad run --only 20_sir_surface --set seed=7  one notebook with another seed, into figures/custom and reports/custom
"""
SYNC = """Make notebooks/*.ipynb from notebooks/*.py. A twin has no outputs but the table of its verdict cell (nbval compares it
with what it gets): from the last quick run if that is fresh, else as it was. Also writes reports/index.html and
reports/README.md anew from the reports. Edits made in an .ipynb alone are lost: edit the .py, or use JupyterLab, which
saves both."""


def parser():
    """The command line."""
    formatter = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser("python -m ssagrad", description=__doc__, epilog=EXAMPLES, formatter_class=formatter)
    commands = top.add_subparsers(dest="command", required=True, metavar="run | check | sync")
    run = commands.add_parser("run", help="run notebooks, publish figures and claims", epilog=EXAMPLES, formatter_class=formatter)
    run.add_argument("--profile", choices=PROFILES, default="quick", help="sizes: the notebooks' own (quick, default) or the paper's")
    run.add_argument("--only", nargs="+", action="extend", default=[], metavar="STEM", help="these notebooks")
    run.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", dest="assignments",
                     help="other values of parameters; results go to figures/custom and reports/custom")  # fmt: skip
    run.add_argument("--resume", action="store_true", help="leave out what is fresh")
    commands.add_parser("check", help="say what is stale and how to renew it; exit status 1 if anything is")
    commands.add_parser("sync", help="make the .ipynb twins of notebooks/*.py", description=SYNC, formatter_class=formatter)
    return top


def run(root, options):
    """Run notebooks and say where the results are."""
    from ssagrad.pipeline import commands

    folders = commands.run(
        root, profile=options.profile, only=options.only, assignments=options.assignments, resume=options.resume
    )
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


def main(arguments=None):
    """Run one command; returns the exit status: 0 done, 1 refused, failed or stale, 2 no project here, 130 interrupted."""
    options = parser().parse_args(arguments)
    root = project_root()
    if root is None or not (Path(root) / "notebooks").is_dir():
        print("No project here: expected pyproject.toml beside a folder notebooks.", file=sys.stderr)
        return 2
    try:
        from ssagrad.pipeline.sources import PipelineError
    except ImportError as error:
        print(f"Notebooks need more packages ({error}): pip install 'ssagrad[notebooks]', or make setup.", file=sys.stderr)
        return 2
    try:
        return {"run": run, "check": check, "sync": sync}[options.command](root, options)
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Results of finished notebooks are in place, all others are as they were; --resume goes on.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
