"""Ten thousand and more bad documents, formulas and Antimony texts for the SBML reader: each is read, or refused with the library's own error.

    python benchmarks/fuzz_sbml.py [--examples 4000]

Runs the four kinds of tests/unit/sbml/test_sbml_fuzz.py with that many examples each (of Antimony a tenth), from new random seeds, in processes of their own, so that a
crash (a signal) shows as what it is; an example that takes more than 20 seconds is an error.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests" / "unit" / "sbml" / "test_sbml_fuzz.py"
KINDS = ("test_any_bytes_and_any_text", "test_documents_with_faults", "test_any_formula_anywhere", "test_any_antimony")


def main() -> int:
    """Run the kinds one after the other; 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=4000, help="examples of each kind (4000; of Antimony a tenth)")
    arguments = parser.parse_args()
    environment = os.environ | {"SSAGRAD_FUZZ": str(arguments.examples)}
    failed = 0
    for kind in KINDS:
        begin = time.perf_counter()
        command = [sys.executable, "-m", "pytest", "-q", "--hypothesis-show-statistics", f"{TESTS}::{kind}"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        failed += done.returncode != 0
        verdict = "ok" if done.returncode == 0 else f"failed ({'signal ' + str(-done.returncode) if done.returncode < 0 else 'see below'})"
        counts = next((line.strip(" -") for line in done.stdout.splitlines() if " passing, " in line), "")
        print(f"{kind}: {verdict}, {time.perf_counter() - begin:.0f} s; {counts}", flush=True)
        if done.returncode:
            print(done.stdout[-4000:], done.stderr[-2000:], sep="\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
