"""Pictures of hypergraphs: hulls, colours, pages for a browser, still pictures."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read, write
from matplotlib.image import imread
from scipy.spatial.transform import Rotation
from untrained import Make

import se3set_ase
from se3set_ase import draw, show
from se3set_ase.hypergraph.build import build_hypergraph
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.hypergraph.weighted import WeightedHypergraph
from se3set_ase.nn.weighting import weighted_hypergraph
from se3set_ase.pictures.drawing import (
    PALETTE,
    atom_colour,
    fragment_colours,
    hull,
    hull_radii,
    oriented,
)
from se3set_ase.pictures.picture import Picture
from se3set_ase.pictures.viewer import OPACITY, View

EXAMPLES = Path(__file__).parents[2] / "examples"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
OXYGENS, PROTON = (3, 5), 11


def acetylacetone(share: float = 0.0) -> Atoms:
    """With its proton so much of the way to the other oxygen atom."""
    atoms = read(EXAMPLES / "acetylacetone.xyz")
    assert isinstance(atoms, Atoms)
    ends = [
        atoms.positions[o] + 1.0 * (v := atoms.positions[PROTON] - atoms.positions[o])
        / np.linalg.norm(v)
        for o in OXYGENS
    ]  # fmt: skip
    atoms.positions[PROTON] = (1 - share) * ends[0] + share * ends[1]
    return atoms


def seen(atoms: Atoms) -> WeightedHypergraph:
    config = HypergraphConfig()
    structure = build_hypergraph(atoms.numbers, atoms.positions, config)
    return weighted_hypergraph(structure, atoms.positions, config)


def data_of(view: View) -> dict:
    (text,) = re.findall(r'<script id="data"[^>]*>(.*?)</script>', view.html, re.S)
    return json.loads(text)


# --- Hulls, places, colours --------------------------------------------------------------------


@pytest.mark.parametrize("n_atoms", [1, 2, 5])
def test_hull_is_a_closed_mesh_around_its_atoms(n_atoms: int, rng: np.random.Generator) -> None:
    positions, numbers = rng.normal(size=(n_atoms, 3)), np.array([8, 1, 6, 1, 7])[:n_atoms]
    vertices, normals, faces = hull(positions, numbers)
    assert sorted(set(faces.ravel())) == list(range(len(vertices)))
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    # Each edge once in each direction: closed, and all triangles turn the same way.
    assert {tuple(e) for e in edges} == {tuple(e[::-1]) for e in edges}
    assert len({tuple(e) for e in edges}) == len(edges)
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    volume = np.einsum("tx,tx->t", np.cross(a, b), c).sum() / 6
    largest = 4 / 3 * np.pi * (hull_radii(numbers) ** 3).max()
    assert volume > 0.85 * largest
    outward = np.cross(b - a, c - a)
    assert (np.einsum("tx,tx->t", outward, a - positions[0]) > 0).all()
    assert np.einsum("vx,vx->v", normals, vertices - positions.mean(axis=0)).mean() > 0
    assert np.linalg.norm(normals, axis=1) == pytest.approx(1)


def test_frames_lie_flat_and_follow_each_other() -> None:
    turned = acetylacetone()
    turned.positions = turned.positions @ Rotation.random(rng=3).as_matrix() + [4.0, -2.0, 9.0]
    first, second = oriented([seen(acetylacetone()), seen(turned)])
    assert second == pytest.approx(first, abs=1e-10)
    width, height, depth = np.ptp(first, axis=0)
    assert width > height > depth
    here = acetylacetone().get_all_distances()
    assert Atoms("H15", first).get_all_distances() == pytest.approx(here)
    handed = [np.linalg.det(p[[1, 4, 6]] - p[0]) for p in (first, acetylacetone().positions)]
    assert handed[0] == pytest.approx(handed[1])  # no mirror image


def test_colours_distinguish_fragments_and_stay_as_they_grow() -> None:
    frames = [seen(acetylacetone(share)) for share in np.linspace(0, 1, 21)]
    colours = fragment_colours(frames)
    assert set(colours.values()) <= set(PALETTE)
    sure = [atoms for atoms, weight in frames[0].fragments if weight == 1]
    assert len(sure) >= 2
    assert len({colours[atoms] for atoms in sure}) == len(sure)
    joint = next(f for f in colours if {*OXYGENS, PROTON} <= set(f))
    parts = [f for f in colours if set(f) < set(joint) and len(f) > 3]
    assert parts
    assert {colours[part] for part in parts} == {colours[joint]}


# --- The page ----------------------------------------------------------------------------------


def test_page_contains_the_hypergraph(make: Make) -> None:
    atoms = acetylacetone(0.5)
    atoms.calc = make()
    view = show(atoms)
    hypergraph = atoms.calc.seen_at(atoms)
    (frame,) = data_of(view)["frames"]
    partial = [weight for _, weight in hypergraph.fragments if 0.02 < weight < 0.98]
    assert len(partial) >= 2  # the control: weights are not all one
    drawn = [(members, w) for members, w in hypergraph.fragments if w >= 0.01]
    assert [h["opacity"] for h in frame["hulls"]] == pytest.approx(
        [OPACITY * w for _, w in drawn], abs=1e-3
    )
    for part, (members, weight) in zip(frame["hulls"], drawn, strict=True):
        names = [f"{atoms.symbols[i]}{i}" for i in members]
        assert part["name"].split(", ")[0].endswith(": " + " ".join(names))
        assert ("weight" in part["name"]) == (weight < 0.995)
    assert [(i, j) for i, j, _ in frame["bonds"]] == [bond for bond, _ in hypergraph.bonds]
    distances = Atoms("H15", frame["positions"]).get_all_distances()
    assert distances == pytest.approx(atoms.get_all_distances(), abs=5e-3)
    assert frame["caption"].startswith("C5H8O2: ")
    assert data_of(view)["names"][11] == "H11"


def test_page_needs_no_network(tmp_path: Path) -> None:
    show(molecule("CH3CH2OH")).save(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)\s*=|https?:|@import|\burl\(", page)
    (packed,) = re.findall(r'<script id="library"[^>]*>(.*?)</script>', page, re.S)
    shipped = Path(se3set_ase.__file__).parent / "pictures" / "javascript" / "3Dmol-min.js"
    assert gzip.decompress(base64.b64decode(packed)) == shipped.read_bytes()
    assert (shipped.parent / "3Dmol-LICENSE.txt").exists()
    assert len(page) < 300_000


def test_a_notebook_gets_the_page_in_a_frame(make: Make) -> None:
    atoms = molecule("CH3CH2OH")
    atoms.calc = make()
    atoms.get_potential_energy()
    shown = atoms.calc.hypergraph._repr_html_()
    (page,) = re.findall(r'^<iframe srcdoc="([^"]*)" width="700" height="480"', shown)
    assert html.unescape(page) == View([atoms.calc.hypergraph]).html


def test_hypergraph_keeps_the_positions_that_it_was_made_for(make: Make) -> None:
    atoms = molecule("CH3CH2OH")
    before = atoms.positions.copy()
    atoms.calc = make()
    atoms.get_potential_energy()
    atoms.positions += 1.0
    assert np.array_equal(atoms.calc.hypergraph.positions, before)
    one, two = atoms.calc.potential.predict([molecule("H2O"), molecule("CH4")])
    assert np.array_equal(one.hypergraph.positions, molecule("H2O").positions)
    assert np.array_equal(two.hypergraph.positions, molecule("CH4").positions)


def test_trajectory_captions_name_changed_bonds(tmp_path: Path) -> None:
    frames = [acetylacetone(share) for share in (0.0, 0.1, 1.0)]
    write(tmp_path / "hop.traj", frames)
    for view in (show(frames), show(tmp_path / "hop.traj")):
        captions = [frame["caption"] for frame in data_of(view)["frames"]]
        assert captions[:2] == ["frame 0 of 2", "frame 1 of 2"]
        assert captions[2] == "frame 2 of 2, bond formed: O5-H11, bond broken: O3-H11"
        assert repr(view) == "View(C5H8O2, 3 frames)"
    hulls = [{h["name"] for h in frame["hulls"]} for frame in data_of(view)["frames"]]
    assert hulls[0] != hulls[2]  # hyperedges follow the frames


def test_every_element_has_a_colour() -> None:
    colours = {atom_colour(number) for number in range(119)}
    assert all(re.fullmatch("#[0-9A-F]{6}", colour) for colour in colours)
    assert len(colours) > 90


def test_invalid_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected at least one frame, got none"):
        show([])
    with pytest.raises(ValueError, match=r"one molecule, got CH4 and, in frame 1, H2O"):
        show([molecule("CH4"), molecule("H2O")])
    with pytest.raises(ValueError, match=r"expected at least one atom"):
        show(Atoms())
    with pytest.raises(FileNotFoundError):
        show(tmp_path / "nothing.xyz")


def test_pictures_do_not_change_the_calculator(make: Make) -> None:
    calc = make()
    frames = [acetylacetone(0.0), acetylacetone(0.5), acetylacetone(1.0)]
    for atoms in frames:
        atoms.calc = calc
    energy, events = frames[0].get_potential_energy(), len(calc.events)
    show(frames)
    draw(frames[2])
    assert len(calc.events) == events
    assert not calc.calculation_required(frames[0], ["energy"])
    assert calc.results["energy"] == energy
    frames[1].get_potential_energy()
    assert len(calc.events) > events  # the control
    with pytest.raises(TypeError, match=r"expected Atoms to draw, got 'a\.xyz'"):
        draw("a.xyz")


# --- Still pictures ----------------------------------------------------------------------------


def test_still_pictures(tmp_path: Path) -> None:
    atoms = acetylacetone(0.5)
    fragments = [(f, w) for f, w in seen(atoms).fragments if w >= 0.01]
    for name in ("a.png", "a.svg", "a.pdf"):
        assert isinstance(draw(atoms, tmp_path / name), Picture)
        assert (tmp_path / name).stat().st_size > 5000
    pixels = imread(tmp_path / "a.png")[..., :3]
    assert 0.02 < (pixels < 0.99).any(axis=2).mean() < 0.9
    (axes,) = draw(atoms).axes
    filled = sorted(p.get_alpha() for p in axes.patches if p.get_linewidth() == 0)
    assert filled == pytest.approx(sorted(0.3 * w for _, w in fragments))
    assert {text.get_text() for text in axes.texts} == {str(i) for i in range(15)}
    assert draw(atoms)._repr_svg_().count("<path") > 50
    assert {t.get_text() for t in draw(atoms, labels=False).axes[0].texts} == {""}


# --- A real browser ----------------------------------------------------------------------------


@pytest.mark.skipif(BROWSER is None, reason="no chromium")
def test_a_browser_draws_it(tmp_path: Path) -> None:
    show([acetylacetone(share) for share in (0.0, 1.0)]).save(tmp_path / "page.html")
    page = browse(tmp_path, "--screenshot=shot.png")
    assert 'data-ready="yes"' in page
    assert "frame 0 of 1" in page
    assert page.count('class="swatch"') == 4
    pixels = imread(tmp_path / "shot.png")[..., :3]
    colourful = np.ptp(pixels, axis=2) > 0.1
    assert colourful[: len(pixels) // 2].mean() > 0.05  # the picture, not the legend
    blank = Path(tmp_path / "page.html")
    blank.write_text(
        blank.read_text().replace("seeThrough(viewer.addCustom", "seeThrough((x) => x")
    )
    assert 'data-ready="yes"' not in browse(tmp_path)  # the control: an error in the script


def browse(folder: Path, *options: str) -> str:
    """The page as it is once its script has run."""
    assert BROWSER is not None
    command = [
        BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader", f"--user-data-dir={folder / 'profile'}",
        "--window-size=700,480", "--virtual-time-budget=20000",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        *options, "--dump-dom", (folder / "page.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=240, check=True
    )
    return done.stdout
