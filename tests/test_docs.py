"""The documentation site builds without a warning, its code runs, and its output is current."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from research.tables import read_rows
from research.truth.reactions import SetErrors, score
from se3set_ase.checkpoint.registry import list_models

ROOT = Path(__file__).parents[1]
DOCS, EXAMPLES = ROOT / "docs", ROOT / "examples"
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
#: Energies in eV, forces in eV/Angstrom, as an example prints them.
TOLERANCE = 2e-4
PICTURE_TOLERANCE = 0.1
"""Points, of a picture of 648: the curves of another processor, rounded by matplotlib."""

needs_mkdocs = pytest.mark.skipif(
    not all(find_spec(name) for name in ("mkdocs", "material", "mkdocstrings")),
    reason="mkdocs, its theme or mkdocstrings is not installed: pip install '.[docs]'",
)


def build(root: Path, output: Path) -> subprocess.CompletedProcess[str]:
    """The site of the repository at ``root``; warnings are errors. All it says is in stdout."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(output)]
    return subprocess.run(
        [*command, "--config-file", str(root / "mkdocs.yml")],
        cwd=output.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )


@needs_mkdocs
def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = build(ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stdout
    pages = {
        path.relative_to(tmp_path / "site").as_posix(): path.read_text(encoding="utf-8")
        for path in (tmp_path / "site").rglob("*.html")
    }
    for model in list_models():
        assert model.metadata.description in pages[f"models/{model.name}.html"]
    assert "name of a bundled model" in pages["api/calculator.html"]
    assert 'id="se3set_ase.calculator.SE3SetCalculator"' in pages["api/calculator.html"]
    assert 'class="formula"' in pages["theory.html"]
    assert "bond formed: O5-H11" in pages["tutorials/05_proton_transfer.html"]
    assert "<td>1185</td>" in pages["measurements/speed.html"]  # from docs/speed.csv
    assert "<td>WATER27</td>" in pages["measurements/truth.html"]  # from docs/truth.csv
    assert "auxiliary_basis" in pages["models/labels.html"]  # from the card of the labels
    for name, page in pages.items():
        # What a hook or an extension did not replace.
        for left in (
            "--cells--",
            "--models--",
            "<p>--table--",
            "--8&lt;--",
            "arithmatex",
            ":class:`",
            "<autoref",
        ):
            assert left not in page, (name, left)
        # Nothing is fetched from elsewhere: a page can be read without a network.
        fetched = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=.?https?://[^>]*>", page)
        fetched += re.findall(
            r"<link[^>]*rel=.?(?:stylesheet|preconnect)[^>]*https?://[^>]*>", page
        )
        assert fetched == [], name


def test_scores_of_the_site_are_those_of_research(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS / "tools")
    from truth import benchmark_scores

    rows = read_rows(DOCS / "truth.csv")
    headings, cells = benchmark_scores(rows)
    methods = [heading.strip("`") for heading in headings[2:]]
    assert {"organic", "GFN2-xTB"} <= set(methods)
    for category, n_reactions, *shown in cells:
        for method, text in zip(methods, shown, strict=True):
            sets = [
                SetErrors(
                    set=row["set"],
                    category=category,
                    n=int(row["n"]),
                    mean_abs_energy=float(row["mean_abs_energy"]),
                    mad=float(row["mad"]),
                )
                for row in rows
                if (row["category"], row["method"]) == (category, method)
            ]
            assert text == f"{score(sets):.1f}"
            if method == methods[0]:
                assert int(n_reactions) == sum(one.n for one in sets) > 50


@needs_mkdocs
def test_broken_links_are_errors(tmp_path: Path) -> None:
    """The control: links to a page, a heading and a function that do not exist."""
    root = tmp_path / "repository"
    shutil.copytree(DOCS, root / "docs")
    shutil.copy(ROOT / "mkdocs.yml", root)
    for path in ROOT.iterdir():
        if path.name in ("models", "examples", "research", "se3set_ase") or path.suffix in (
            ".md",
            ".cff",
        ):
            (root / path.name).symlink_to(path)
    links = "[a](nowhere.md) [b](faq.md#never-asked) [c][se3set_ase.nonsense]\n"
    with (root / "docs" / "cite.md").open("a", encoding="utf-8") as page:
        page.write(f"\n{links}")
    done = build(root, tmp_path / "site")
    assert done.returncode != 0
    assert "Aborted with 3 warnings in strict mode" in done.stdout
    for broken in ("nowhere.md", "#never-asked", "se3set_ase.nonsense"):
        assert broken in done.stdout, done.stdout


@pytest.mark.parametrize("page", ["index.md", "faq.md", "guide.md"])
def test_code_of_the_pages_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "examples").symlink_to(EXAMPLES)  # what is written stays out of it
    monkeypatch.chdir(tmp_path)
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        if any(name in block and not find_spec(name) for name in ("torch_sim", "openmmml")):
            continue  # optional dependencies; Python 3.10 cannot have torch-sim
        exec(compile(block, page, "exec"), names)
    # What a comment says that is printed, is.
    printed = capsys.readouterr().out
    for claim in re.findall(r"print\(.*\)  # (?!eV)(.*)", text):
        assert claim in printed


def test_every_example_has_its_page_and_what_it_prints() -> None:
    scripts = {path.stem for path in EXAMPLES.glob("*.py")}
    notebooks = {path.stem for path in EXAMPLES.glob("*.ipynb")}
    pages = {path.stem for path in (DOCS / "tutorials").glob("*.md")} - {"index"}
    assert pages == scripts | notebooks
    assert {path.stem for path in (DOCS / "tutorials" / "printed").glob("*.txt")} == scripts
    overview = (DOCS / "tutorials" / "index.md").read_text(encoding="utf-8")
    for name in pages:
        assert f"]({name}.md)" in overview


def test_what_an_example_prints_is_what_its_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run the shortest example: a changed model would change its numbers."""
    name = "01_single_point"
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    text = (DOCS / "tutorials" / "printed" / f"{name}.txt").read_text(encoding="utf-8")
    expected_lines, printed = text.splitlines()[1:], capsys.readouterr().out.splitlines()
    again = (
        f"expected what the page says; if the model has changed: docs/tools/run_examples.py {name}"
    )
    assert [NUMBER.sub("", line) for line in expected_lines] == [
        NUMBER.sub("", line) for line in printed
    ]
    for one, other in zip(expected_lines, printed, strict=True):
        expected = [float(number) for number in NUMBER.findall(one)]
        found = [float(number) for number in NUMBER.findall(other)]
        assert found == pytest.approx(expected, abs=TOLERANCE), again


def test_figure_of_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = tmp_path / "weights.svg"
    script = DOCS / "figures" / "smooth_weights.py"
    monkeypatch.setattr(sys, "argv", [script.name, str(picture)])
    runpy.run_path(str(script), run_name="__main__")
    drawn, kept = (
        path.read_text(encoding="utf-8") for path in (picture, script.with_suffix(".svg"))
    )
    made_by = re.compile(r"Matplotlib v[\d.]+")
    if made_by.findall(drawn) != made_by.findall(kept):
        pytest.skip("another version of matplotlib draws its letters and margins otherwise")
    curves = [
        [
            float(x)
            for d in re.findall(r'<path d="([^"]*)" clip-path', text)
            for x in re.findall(r"[\d.]+", d)
        ]
        for text in (drawn, kept)
    ]
    assert len(curves[0]) > 2000
    assert curves[0] == pytest.approx(curves[1], abs=PICTURE_TOLERANCE)
