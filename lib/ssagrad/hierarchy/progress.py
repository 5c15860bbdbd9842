"""A bar over long computations, where somebody asked for one."""

from __future__ import annotations

from collections.abc import Iterable


def bar(steps: range, label: str | None, *, unit: str, first: int = 0, total: int | None = None) -> Iterable[int]:
    """The steps, with a bar (needs tqdm) if there is a label.

    Args:
        unit: what a step is called. first: how many were done before. total: how many there will be; None: not known.
    """
    if label is None:
        return steps
    from tqdm import tqdm

    return tqdm(iter(steps), desc=label, initial=first, total=total, unit=unit)
