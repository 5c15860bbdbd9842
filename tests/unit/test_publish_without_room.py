"""Figures and reports on a disk that is full: the old ones stay whole."""

import subprocess
import sys

SCRIPT = """
import resource, signal, sys
from pathlib import Path
from types import SimpleNamespace
from ssagrad import publish

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def report(size):
    report = publish.Report("10_toy", profile="quick", seed=size, parameters={"words": "x" * size})
    fig = SimpleNamespace(axes=[1], savefig=lambda file, **options: file.write_bytes(bytes(24 + size)))
    report.figure(fig, "dots", caption="Dots.", alt="Dots.")
    report.claim("toy.it", source="this project", says="It holds.", measured=1, criterion="always", holds=True)
    report.verdict()

report(10)
before = {path: path.read_bytes() for path in Path(".").rglob("10_toy*") if path.is_file()}
assert len(before) == 2
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for broken in (lambda: report(100_000), lambda: publish.write_json(next(p for p in before if p.suffix == ".json"), {"x": "y" * 100_000})):
    try:
        broken()
    except OSError as error:
        print("refused", error.errno)
assert {path: path.read_bytes() for path in before} == before
print("whole")
"""


def test_a_full_disk_leaves_old_figures_and_reports_whole(tmp_path):
    """Files may not grow beyond 4 kB: writing a larger figure or report raises, and what was there before is unchanged."""
    import os

    environment = {**os.environ, "SSAGRAD_OUTPUT": str(tmp_path)}
    found = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert found.stdout.split() == ["refused", "27", "refused", "27", "whole"], found.stderr
