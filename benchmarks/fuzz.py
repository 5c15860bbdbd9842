"""Bad inputs by the thousand: `python benchmarks/fuzz.py --examples 10000` prints how many of each kind were read, how many refused, and the slowest.

An input that raises anything but the library's own error, takes longer than two seconds, or changes the folder that it is in, ends the run and is shown.
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, given, settings

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from support_fuzzing import KINDS  # noqa: E402


def fuzz(kind, examples, seed):
    """Counts of inputs that were read and refused, and the seconds of the slowest."""
    from hypothesis import seed as seeded

    inputs, read = KINDS[kind]
    seen, slowest = Counter(), [0.0]

    @seeded(seed)
    @settings(max_examples=examples, deadline=2000, database=None, suppress_health_check=list(HealthCheck))
    @given(inputs)
    def check(value):
        begin = time.perf_counter()
        seen["read" if read(value) else "refused"] += 1
        slowest[0] = max(slowest[0], time.perf_counter() - begin)

    check()
    return seen, slowest[0]


def main():
    """Run all kinds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=10_000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=KINDS)
    options = parser.parse_args()
    print(f"{'kind':<12}{'inputs':>8}{'read':>8}{'refused':>9}{'slowest':>12}")
    for kind in [options.only] if options.only else KINDS:
        seen, slowest = fuzz(kind, options.examples, options.seed)
        print(f"{kind:<12}{seen.total():>8}{seen['read']:>8}{seen['refused']:>9}{1e3 * slowest:>9.1f} ms", flush=True)


if __name__ == "__main__":
    main()
