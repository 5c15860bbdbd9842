"""Pages for readers without Jupyter: each executed notebook, an overview with figures and claims, and the claims table.

No page loads anything from elsewhere. Formulas become MathML, which browsers draw themselves; code is folded away;
figures of a notebook are inside its page. All text is a function of the reports, so that `check` can compare it.
"""

import html
import os
import re
import struct
from base64 import b64decode, b64encode
from functools import cache
from io import BytesIO
from pathlib import Path

import latex2mathml.converter
import nbconvert
import nbformat
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from PIL import Image

from ssagrad.pipeline import results
from ssagrad.publish import write_bytes
from ssagrad.tables import html_table, markdown_table, measurement, verdict_text

STYLE = Path(__file__).with_name("pages.css")
HEAD = ("claim", "source", "says", "measured", "criterion", "verdict")
MARKED = re.compile(r"(<!-- claims:[^\n]*-->)\n.*?(<!-- end of claims -->)", re.DOTALL)
REWRITTEN = (  # what the converter draws badly, as what it draws well
    (r"\\(begin|end)\{(aligned|split|gathered)\}", r"\\\1{align*}"),
    (r"\\mathrm\{(\w)\}", r"\\text{\1}"),
    (r"\\xrightarrow\{((?:[^{}]|\{[^{}]*\})*)\}", r"\\overset{\1}{\\longrightarrow}"),
)
TEMPLATE = """
{%- extends 'basic/index.html.j2' -%}
{%- block in_prompt -%}{%- endblock -%}
{%- block empty_in_prompt -%}{%- endblock -%}
{%- block output_area_prompt -%}{%- endblock -%}
{%- block input -%}<details><summary>code</summary>{{ super() }}</details>{%- endblock -%}
{%- block data_latex -%}{{ output.data['text/latex'] | formulas }}{%- endblock -%}
"""


def notebook_page(executed, title):
    """An executed notebook as one HTML page that stands alone: code folded, progress bars left out."""
    executed = nbformat.from_dict(executed)
    for cell in executed.cells:
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    output.data["image/png"] = without_alpha(output.data["image/png"])
    exporter = nbconvert.HTMLExporter(raw_template=TEMPLATE, filters={"formulas": formulas, "markdown2html": markdown})
    body, _ = exporter.from_notebook_node(executed)
    back = '<nav><a href="index.html">All notebooks</a></nav>'
    return page(title, f'<main class="notebook">\n{back}\n{body}\n</main>', code_colours())


def without_alpha(png):
    """A picture (base64) without its opacity, which takes a tenth of the space, if all of it is opaque."""
    image, smaller = Image.open(BytesIO(b64decode(png))), BytesIO()
    if image.mode != "RGBA" or image.getchannel("A").getextrema() != (255, 255):
        return png
    image.convert("RGB").save(smaller, "PNG", optimize=True)
    return b64encode(smaller.getvalue()).decode()


def page(title, body, more_style=""):
    """A whole HTML document."""
    style = STYLE.read_text("utf-8") + more_style
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>\n{style}\n</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


@cache
def code_colours():
    """Style of highlighted code, for light and dark."""
    from pygments.formatters import HtmlFormatter

    light = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"


def markdown(source):
    """Markdown to HTML, formulas to MathML."""
    renderer = MathRenderer(escape=False, anchor_link_text="")
    return MarkdownWithMath(renderer=renderer).render(source)


class MathRenderer(IPythonRenderer):
    """nbconvert's renderer, with formulas drawn as MathML."""

    def block_math(self, body):
        """A formula on its own line."""
        return mathml(body, display="block")

    def inline_math(self, body):
        """A formula within the text."""
        return mathml(body)

    def latex_environment(self, name, body):
        """A bare LaTeX environment."""
        return mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", display="block")


def formulas(text):
    """LaTeX output of a cell, with its dollar signs, as MathML."""
    body = text.strip()
    display = "inline" if re.fullmatch(r"\$(?!\$).*(?<!\$)\$", body, re.DOTALL) else "block"
    return mathml(body.strip("$"), display=display)


def mathml(body, *, display="inline"):
    """One formula as MathML; as its source if it cannot be read."""
    plain = body.strip()
    for pattern, replacement in REWRITTEN:
        plain = re.sub(pattern, replacement, plain)
    try:
        drawn = latex2mathml.converter.convert(plain, display=display)
    except Exception:  # the converter raises many kinds, none of them documented
        drawn = "\\"
    return f"<code>{html.escape(body)}</code>" if "\\" in drawn else drawn


def write_overview(root, folders):
    """Write the index page and the claims table of a folder of reports."""
    for path, text in overview(root, folders).items():
        write_bytes(path, text.encode())


def stale_overview(root, folders):
    """The overview pages that differ from what the reports give now; none while there is no report."""
    if not results.reports(folders):
        return []
    pages = overview(root, folders).items()
    return [path for path, text in pages if not path.is_file() or path.read_text("utf-8") != text]


def overview(root, folders):
    """The overview pages of a folder of reports, by path."""
    reports = results.reports(folders)
    place = folders.reports.relative_to(root).as_posix()
    pages = {
        folders.reports / "index.html": page("ssagrad: figures and claims", index_body(reports, folders, place)),
        folders.reports / "README.md": claims_markdown(reports, place),
    }
    landing_page = root / "README.md"
    if place == "reports" and landing_page.is_file():
        pages[landing_page] = with_claims(landing_page.read_text("utf-8"), reports)
    return pages


def with_claims(text, reports):
    """The project's README with one claim of each notebook between its two markers, eight in all: what papers say first."""
    order = ("paper", "our reading", "beyond")
    heads = [min(report["claims"], key=lambda claim: order.index(claim["kind"])) for report in reports if report["claims"]]
    claims = sorted(heads, key=lambda claim: order.index(claim["kind"]))[:8]
    rows = [[claim["says"], claim["source"], measurement(claim["measured"], claim["standard_error"], claim["unit"]), verdict_text(claim)] for claim in claims]
    table = markdown_table(("claim", "source", "measured", "verdict"), rows)
    block = f"{tally(reports)}.\n\n{table}\n\nAll of them: [`reports/README.md`](reports/README.md)."
    return MARKED.sub(lambda match: f"{match[1]}\n{block}\n{match[2]}", text)


def claim_rows(report):
    """The rows of a report's claims table."""
    for claim in report["claims"]:
        measured = measurement(claim["measured"], claim["standard_error"], claim["unit"])
        yield [claim["id"], claim["source"], claim["says"], measured, claim["criterion"], verdict_text(claim)]


def tally(reports):
    """How many claims have which verdict, in words."""
    words = [verdict_text(claim) for report in reports for claim in report["claims"]]
    order = ("reproduced", "not reproduced", "beyond", "our reading")
    found = sorted(set(words), key=lambda word: (order.index(word.partition(",")[0]), word))
    return "; ".join(f"{words.count(word)} {word}" for word in found)


def origin(report):
    """What a report was run with, in a line."""
    versions = report["versions"]
    names = [f"{name} {versions[name]}" for name in ("python", "jax") if name in versions]
    device = report["device"].get("kind", "no JAX")
    return f"{report['profile']} profile, seed {report['seed']}, {device} ({report['device']['machine']}), {', '.join(names)}"


def claims_markdown(reports, place):
    """The claims of all notebooks, one table per notebook."""
    parts = [
        "# Claims", "",
        "What the papers say and what came out here, with standard errors. Written by `python -m ssagrad run`; "
        "the same with figures: `index.html`.", "", f"{tally(reports)}.".capitalize(), "",
    ]  # fmt: skip
    up = os.path.relpath("notebooks", place)
    for report in reports:
        parts += [f"## [{report.get('title', report['stem'])}]({up}/{report['stem']}.ipynb)", ""]
        parts += [markdown_table(HEAD, list(claim_rows(report))), "", f"From: {origin(report)}.", ""]
    return "\n".join(parts)


def index_body(reports, folders, place):
    """The body of the overview page."""
    parts = [
        "<header><h1>ssagrad</h1>",
        "<p>Gradients of exact stochastic simulation: every figure, every number, and what the papers say beside what came out "
        f"here.</p><p class='tally'>{html.escape(tally(reports))}</p></header>", "<main>",
    ]  # fmt: skip
    up = os.path.relpath(folders.figures, folders.reports)
    for report in reports:
        title = html.escape(report.get("title", report["stem"]))
        parts += [f'<section id="{report["stem"]}">', f'<h2><a href="{report["stem"]}.html">{title}</a></h2>', "<div class='figures'>"]
        for figure in report["figures"]:
            image = f'<img src="{up}/{figure["file"]}" alt="{html.escape(figure["alt"])}" loading="lazy">'
            caption = re.sub(r"\$(.+?)\$", lambda found: mathml(found.group(1)), html.escape(figure["caption"], quote=False))
            wide = " class='wide'" if is_wide(folders.figures / figure["file"]) else ""
            parts.append(f'<figure{wide}><a href="{up}/{figure["file"]}">{image}</a><figcaption>{caption}</figcaption></figure>')
        parts += ["</div>", "<div class='claims'>", claims_html(report), "</div>"]
        parts += [f"<p class='origin'>{html.escape(origin(report))}</p>", "</section>"]
    return "\n".join((*parts, "</main>"))


def is_wide(path):
    """Whether a PNG is more than twice as wide as high, from its header."""
    header = path.read_bytes()[16:24] if path.is_file() else b""
    width, height = struct.unpack(">II", header) if len(header) == 8 else (1, 1)
    return width > 2 * height


def claims_html(report):
    """A report's claims with coloured verdicts."""
    table = html_table(HEAD, list(claim_rows(report)))
    for claim in report["claims"]:
        mark = "yes" if claim["holds"] else "no"
        text = html.escape(verdict_text(claim))
        table = table.replace(f">{text}</td></tr>", f"><span class='{mark}'>{text}</span></td></tr>", 1)
    return table
