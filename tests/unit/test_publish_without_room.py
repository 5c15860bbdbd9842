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
        print("refused", error.errno, Path(error.filename).name)
assert {path: path.read_bytes() for path in before} == before
assert {path for path in Path(".").rglob("*") if path.is_file()} == set(before)
print("whole")
"""


def test_writers_of_one_process_number_do_not_meet(tmp_path):
    """Eight threads write one file again and again: it is always the whole text of one of them, readable as any file, with nothing beside it."""
    from concurrent.futures import ThreadPoolExecutor

    from ssagrad import publish

    path, plain = tmp_path / "x.txt", tmp_path / "plain.txt"
    plain.touch()
    texts = [bytes([65 + i]) * 100_000 for i in range(8)]
    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(publish.write_bytes, path, text) for text in texts * 20]:
            done.result()
            assert path.read_bytes() in texts
    assert path.stat().st_mode == plain.stat().st_mode and {p.name for p in tmp_path.iterdir()} == {"x.txt", "plain.txt"}


def test_a_full_disk_leaves_old_figures_and_reports_whole(tmp_path):
    """Files may not grow beyond 4 kB: writing a larger figure or report raises with its name, what was there before is unchanged, and nothing is left beside it."""
    import os

    environment = {**os.environ, "SSAGRAD_OUTPUT": str(tmp_path)}
    found = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert found.stdout.split() == ["refused", "27", "10_toy_dots.png", "refused", "27", "10_toy.json", "whole"], found.stderr
