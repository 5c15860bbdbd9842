"""The benchmark's result as markdown: rates, ratios against their targets, limits, and the machine it ran on."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from datetime import date
from importlib import metadata
from pathlib import Path

from fresh import COLD_PATHS, COLD_TARGET_S, MEMORY_PATHS, MEMORY_TARGET_GB
from peer_workers import PEERS
from reference import reference
from rounds import MAX_Z, Cell
from systems import SYSTEMS

Rows = dict[tuple[str, int], dict[str, Cell]]


def rates(rows: Rows, names: list[str]) -> str:
    """Millions of events per second, a row a system and number of paths."""
    lines = [["M events/s", *(PEERS[name].title for name in names)]]
    for (system, paths), cells in rows.items():
        events = reference(system)["events_mean"]
        lines.append([f"{system}, {paths:,} paths", *(_rate(cells.get(name), events) for name in names)])
    return table(lines)


def ratios(rows: Rows) -> str:
    """ssagrad against the fastest peer and against C++, with the targets."""
    lines = [["ratio", "fastest peer", "ssagrad / fastest peer", "target", "", "ssagrad / C++", "target", ""]]
    for (system, paths), cells in rows.items():
        events = reference(system)["events_mean"]
        valid = {name: cell.rate(events) for name, cell in cells.items() if cell.valid}
        own = valid.get("own")
        peers = {name: rate for name, rate in valid.items() if PEERS[name].ranked}
        fastest = max(peers, key=peers.get, default=None)
        goal = SYSTEMS[system]
        lines.append(
            [
                f"{system}, {paths:,} paths",
                PEERS[fastest].title if fastest else "-",
                *_against(own, peers.get(fastest), goal.target_over_peers),
                *_against(own, valid.get("cpp"), goal.target_over_cpp),
            ]
        )
    return table(lines)


def limits(memory: float, cold: tuple[float, float]) -> str:
    """Peak memory and cold start against their targets."""
    seconds, imported = cold
    return table(
        [
            ["in a fresh process", "measured", "target", ""],
            [
                f"peak memory, {MEMORY_PATHS:,} SIR paths, 51 times",
                f"{memory:.2f} GB",
                f"< {MEMORY_TARGET_GB:g} GB",
                verdict(memory < MEMORY_TARGET_GB),
            ],
            [
                f"cold start to {COLD_PATHS:,} SIR paths (imports {imported:.1f} s of it)",
                f"{seconds:.1f} s",
                f"< {COLD_TARGET_S:g} s",
                verdict(seconds < COLD_TARGET_S),
            ],
        ]
    )


def device_row(device: str, paths: int, cell: Cell) -> str:
    """The large ensemble that only a GPU is asked for, against 10¹⁰ events/s."""
    if not cell.valid:
        return f"SIR, {paths:,} paths on {device}: {cell.error or f'wrong means, z = {cell.z:.1f}'}\n"
    rate = cell.rate(reference("SIR")["events_mean"])
    return f"SIR, {paths:,} paths on {device}: {rate:.3g} events/s, target 1e10 ({verdict(rate >= 1e10)})\n"


def noise(rows: Rows) -> str:
    """How much the rounds of one cell differ, and every cell that failed."""
    cells = [(key, name, cell) for key, row in rows.items() for name, cell in row.items()]
    spreads = [cell.spread for _, _, cell in cells if len(cell.seconds) > 1]
    lines = []
    if spreads:
        lines.append(
            f"Rounds of one cell differ by {statistics.median(spreads):.0%} of their median (median over cells; at most {max(spreads):.0%})."
        )
    worst = max((cell.z for _, _, cell in cells if cell.valid), default=0.0)
    lines.append(f"Means of all cells that count agree with the reference: largest |z| {worst:.1f}, limit {MAX_Z:g}.")
    for (system, paths), name, cell in cells:
        if cell.error:
            lines.append(f"{PEERS[name].title} on {system}, {paths:,} paths failed: {cell.error}")
        elif not cell.valid:
            lines.append(f"{PEERS[name].title} on {system}, {paths:,} paths: wrong means (|z| = {cell.z:.1f}), its time does not count.")
    return "\n".join(f"- {line}" for line in lines) + "\n"


def machine(versions: dict[str, dict], load: float, timing: str) -> str:
    """One paragraph: date, processor, cores, compiler and versions, and how it was timed."""
    found: dict[str, str] = {}
    for entries in versions.values():
        found |= entries
    device = found.pop("device", "cpu")
    if "cpp" in versions:
        found["g++"] = subprocess.run(["g++", "-dumpfullversion"], capture_output=True, text=True).stdout.strip()
    listed = ", ".join(f"{name} {version}" for name, version in sorted(found.items()))
    return (
        f"{date.today()}: {_processor()}, {os.cpu_count()} cores, JAX on {device}; load average {load:.1f} before the first round. "
        f"Python {platform.python_version()}, {listed}. {timing}\n"
    )


def in_process(load: float, timing: str) -> str:
    """`machine` of a benchmark that runs in one process."""
    import jax

    versions = {name: metadata.version(name) for name in ("ssagrad", "jax")} | {"device": jax.default_backend()}
    return machine({"all": versions}, load, timing)


def publish(title: str, parts: list[str], output: Path | None) -> None:
    """Print the parts, and write them below a title if a file is named."""
    text = "\n".join(parts)
    print(text)
    if output:
        output.write_text(f"# {title}\n\n{text}")


def _rate(cell: Cell | None, events: float) -> str:
    if cell is None or not cell.seconds or cell.error:
        return "-"
    value = cell.rate(events) / 1e6
    text = f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return text if cell.valid else f"({text})"


def _against(own: float | None, other: float | None, target: float) -> list[str]:
    if own is None or other is None:
        return ["-", f"{target:g}×", "-"]
    return [f"{own / other:.1f}×", f"{target:g}×", verdict(own / other >= target)]


def verdict(met: bool) -> str:
    return "met" if met else "missed"


def table(lines: list[list[str]]) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rows = ["| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in lines]
    rows.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(rows) + "\n"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
