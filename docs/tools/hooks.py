"""Hooks of mkdocs: pages of the site that are made from other files of the repository.

Model cards and examples are read from their folders, tables from CSV files, when the site is
built.
"""

from __future__ import annotations

import base64
import html
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.font_manager import FontProperties
from matplotlib.path import Path as Outline
from matplotlib.textpath import TextPath
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))  # mkdocs loads this file by its path

from tables import table

CELLS = re.compile(r'^--cells-- "([^"]+)"$', re.MULTILINE)
MODELS = "--models--"
TABLE = re.compile(r'^--table-- "([^"]+)"$', re.MULTILINE)
CELL = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)
FONT_SIZE = 16.0  # of the page, pixels
FONT = FontProperties(size=18.0, math_fontfamily="stix")  # a font with small letters
#: SVG commands for matplotlib's path codes.
PEN = {
    Outline.MOVETO: "M",
    Outline.LINETO: "L",
    Outline.CURVE3: "Q",
    Outline.CURVE4: "C",
    Outline.CLOSEPOLY: "Z",
}
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the cards of the bundled models to the navigation."""
    assert config.nav is not None
    section = next(entry["Models"] for entry in config.nav if "Models" in entry)
    section += [f"models/{name}.md" for name in bundled(root_of(config))]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pages and downloads from elsewhere in the repository."""
    root = root_of(config)
    for name, folder in bundled(root).items():
        files.append(File.generated(config, f"models/{name}.md", content=card(folder)))
        for path in sorted(folder.glob("*.png")):
            files.append(
                File.generated(config, f"models/{name}/{path.name}", abs_src_path=str(path))
            )
    labels = root / "research" / "data" / "wb97x-3c" / "labels.png"
    files.append(File.generated(config, "models/labels.png", abs_src_path=str(labels)))
    for path in sorted((root / "examples").iterdir()):
        if path.suffix in (".ipynb", ".py", ".xyz"):
            files.append(File.generated(config, f"tutorials/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, config: MkDocsConfig, **_: Any) -> str:
    """Insert examples, tables of measurements and the table of the models."""
    root = root_of(config)
    markdown = CELLS.sub(lambda found: as_page(root / found[1]), markdown)
    markdown = TABLE.sub(lambda found: table(found[1], root / "docs"), markdown)
    return markdown.replace(MODELS, table_of_models(root)) if MODELS in markdown else markdown


def on_page_content(content: str, **_: Any) -> str:
    """Replace formulas by pictures, which look the same in any browser."""
    return FORMULA.sub(drawn, content)


def drawn(found: re.Match[str]) -> str:
    """One formula as an image, with letters of the size of the text."""
    inline, tex = found[1] == "span", " ".join(html.unescape(found[2]).split())
    outline = TextPath((0, 0), f"${tex}$", prop=FONT)
    box = outline.get_extents().padded(1.0)
    steps = (
        PEN[code] + " ".join(f"{x:.2f}" for x in points if code != Outline.CLOSEPOLY)
        for points, code in outline.iter_segments(simplify=False)
    )
    picture = (
        f'<svg xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="{box.x0:.2f} {-box.y1:.2f} {box.width:.2f} {box.height:.2f}">'
        f'<path transform="scale(1 -1)" d="{"".join(steps)}"/></svg>'
    )
    data = base64.b64encode(picture.encode()).decode()
    lengths = {"width": box.width, "height": box.height, "vertical-align": box.y0}
    style = "; ".join(f"{name}: {x / FONT_SIZE:.3f}em" for name, x in lengths.items())
    image = f'<img alt="{html.escape(tex)}" src="data:image/svg+xml;base64,{data}" style="{style}">'
    return image if inline else f'<p class="formula">{image}</p>'


def root_of(config: MkDocsConfig) -> Path:
    return Path(config.config_file_path).parent


def bundled(root: Path) -> dict[str, Path]:
    """Folder of every model of the registry, by name."""
    registry = json.loads((root / "models" / "registry.json").read_text(encoding="utf-8"))
    return {name: root / "models" / entry["folder"] for name, entry in registry["models"].items()}


def card(folder: Path) -> str:
    """The card of a model, followed by its measured errors (errors.md)."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    if (folder / "errors.md").exists():
        text += "\n" + (folder / "errors.md").read_text(encoding="utf-8")
    return re.sub(r"\]\((\w+\.png)\)", rf"]({folder.name}/\1)", text)


def table_of_models(root: Path) -> str:
    """Purpose, elements and level of theory of all bundled models."""
    rows = ["| model | purpose | elements | level of theory |", "|---|---|---|---|"]
    for name, folder in bundled(root).items():
        about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        cells = (about["description"], " ".join(about["symbols"]), about["level_of_theory"])
        rows.append(f"| [`{name}`]({name}.md) | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def as_page(path: Path) -> str:
    """A notebook or a percent script as Markdown, without its title, which the page has."""
    parts = [text if kind == "markdown" else fenced(text) for kind, text in cells_of(path)]
    return re.sub(r"\A# .*\n+", "", "\n\n".join(part for part in parts if part))


def cells_of(path: Path) -> Iterator[tuple[str, str]]:
    """Kind and text of each cell; a script without cells is one code cell."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        for cell in json.loads(text)["cells"]:
            yield cell["cell_type"], "".join(cell["source"]).strip()
        return
    start, *parts = CELL.split(text)
    yield "code", start.strip()
    for is_markdown, content in zip(parts[::2], parts[1::2], strict=True):
        if is_markdown:
            yield "markdown", re.sub(r"^# ?", "", content.strip(), flags=re.MULTILINE)
        else:
            yield "code", content.strip()


def fenced(code: str) -> str:
    return f"```python\n{code}\n```" if code else ""
