"""Numbers and verdicts as text, and rows of text as plain, HTML or Markdown tables."""

import html
import math
import textwrap
from typing import NamedTuple


class Table(NamedTuple):
    """Rows of text that print as a plain table and show as HTML."""

    head: tuple
    rows: list

    def __repr__(self):
        return plain_table(self.head, self.rows)

    def _repr_html_(self):
        return html_table(self.head, self.rows)


def verdict_word(kind, holds):
    """A claim's verdict: a paper's claim is reproduced or not, any other claim is named by its kind."""
    return ("reproduced" if holds else "not reproduced") if kind == "paper" else kind


def verdict_text(claim):
    """The verdict as a reader sees it: the word, and that the claim does not hold where the word leaves it open."""
    word = claim["verdict"]
    return word if claim["holds"] or word == "not reproduced" else f"{word}, does not hold"


def measurement(value, standard_error, unit):
    """Text such as `0.01030 ± 0.00021 /day`: the error to two digits, the value to as many; unit "1" is not shown."""
    if isinstance(value, str):
        return value
    if standard_error is None:
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
    elif standard_error == 0:
        text = f"{value:.6g} ± 0"
    elif standard_error < 1e-5 or abs(value) >= 1e6:
        text = f"{value:.4e} ± {standard_error:.1e}"
    else:
        digits = max(1 - math.floor(math.log10(standard_error)), 0)
        text = f"{value:.{digits}f} ± {standard_error:.{digits}f}"
    return text if unit == "1" else f"{text} {unit}"


def plain_table(head, rows, *, width=76):
    """Columns of text under their heads; cells longer than `width` are wrapped."""
    wrapped = [[textwrap.wrap(str(cell), width) or [""] for cell in row] for row in (head, *rows)]
    widths = [max(len(line) for row in wrapped for line in row[column]) for column in range(len(head))]
    lines = []
    for row in wrapped:
        for k in range(max(len(cell) for cell in row)):
            cells = [(cell[k] if k < len(cell) else "").ljust(size) for cell, size in zip(row, widths)]
            lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def html_table(head, rows):
    """The same columns as an HTML table; every cell is escaped."""
    lines = ["<table>", "<thead>", _html_row("th", head), "</thead>", "<tbody>"]
    lines += [_html_row("td", row) for row in rows]
    return "\n".join((*lines, "</tbody>", "</table>"))


def markdown_table(head, rows):
    """The same columns as a Markdown table."""
    escaped = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in (head, *rows)]
    escaped.insert(1, ["---"] * len(head))
    return "\n".join(f"| {' | '.join(row)} |" for row in escaped)


def _html_row(tag, cells):
    inner = "".join(f"<{tag} style='text-align: left'>{html.escape(str(cell))}</{tag}>" for cell in cells)
    return f"<tr>{inner}</tr>"
