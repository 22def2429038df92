"""Results print, draw and write themselves."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from matplotlib.figure import Figure

from se3set_ase.potential import Potential
from se3set_ase.simulate import DynamicsResult, Relaxations, RelaxResult, md, relax, relax_many

PNG = b"\x89PNG\r\n\x1a\n"


def ethane(seed: int = 1) -> Any:
    atoms = molecule("C2H6")
    atoms.rattle(0.02, seed=seed)
    atoms.calc = EMT()
    return atoms


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def relaxed() -> RelaxResult:
    return relax(ethane(), fmax=0.05)


@pytest.fixture(scope="module")
def run() -> DynamicsResult:
    return md(ethane(), steps=20, interval=5, seed=1)


@pytest.fixture(scope="module")
def many(saved: Path) -> Relaxations:
    molecules = [molecule(name) for name in ("CH3CH2OH", "H2O")]
    return relax_many(molecules, Potential(saved, device="cpu"), steps=3)


@pytest.fixture(params=["relaxed", "run", "many"])
def result(request: pytest.FixtureRequest) -> RelaxResult | DynamicsResult | Relaxations:
    found: RelaxResult = request.getfixturevalue(request.param)
    return found


def test_a_result_draws_itself(
    result: RelaxResult | DynamicsResult | Relaxations, tmp_path: Path
) -> None:
    figure = result.plot()
    assert isinstance(figure, Figure)
    drawn = [line for axis in figure.axes for line in axis.lines if len(line.get_xdata()) > 2]
    assert drawn
    assert figure._repr_png_().startswith(PNG)  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []
    result.plot(tmp_path / "run.svg", title="A title of its own")
    assert "<svg" in (tmp_path / "run.svg").read_text()
    with pytest.raises(ValueError, match=r"expected the file name of a picture"):
        result.plot(tmp_path / "run.docx")


def test_a_result_shows_itself_in_a_notebook(
    result: RelaxResult | DynamicsResult | Relaxations,
) -> None:
    page = result._repr_html_()
    assert "data:image/png;base64," in page
    assert "steps" in page
    assert repr(result).startswith(f"<{type(result).__name__}: ")
    assert len(repr(result)) < 120  # without arrays


def test_the_table_of_a_relaxation(relaxed: RelaxResult, tmp_path: Path) -> None:
    relaxed.to_csv(tmp_path / "run.csv")
    rows = rows_of(tmp_path / "run.csv")
    assert [int(row["step"]) for row in rows] == list(range(relaxed.n_steps + 1))
    assert [float(row["energy_eV"]) for row in rows] == pytest.approx(relaxed.energy)
    assert [float(row["fmax_eV_A"]) for row in rows] == pytest.approx(relaxed.fmax)
    assert {row["energy_uncertainty_eV"] for row in rows} == {""}  # EMT has none
    assert relaxed.doubt is None
    text = str(relaxed)
    assert text.startswith(f"converged after {relaxed.n_steps} steps")
    assert text.endswith("\nconverged")
    assert "uncertainty" not in text


def test_the_table_of_dynamics(run: DynamicsResult, tmp_path: Path) -> None:
    run.to_csv(tmp_path / "run.csv")
    rows = rows_of(tmp_path / "run.csv")
    assert [float(row["time_ps"]) for row in rows] == pytest.approx(run.time)
    assert [float(row["total_eV"]) for row in rows] == pytest.approx(run.total)
    assert {row["hyperedges"] for row in rows} == {""}  # EMT has none
    assert str(run).endswith("\n20 steps")


def test_the_table_of_many_relaxations(many: Relaxations, tmp_path: Path) -> None:
    many.to_csv(tmp_path / "many.csv")
    rows = rows_of(tmp_path / "many.csv")
    assert [row["formula"] for row in rows] == ["C2H6O", "H2O"]
    assert [int(row["steps"]) for row in rows] == [r.n_steps for r in many] == [3, 3]
    energies = [r.atoms.get_potential_energy() for r in many]
    assert [float(row["energy_eV"]) for row in rows] == pytest.approx(energies)
    assert [r.energy[-1] for r in many] == pytest.approx(energies)
    assert many[0].energy[0] - many[0].energy[-1] > 0.1  # each step is recorded
    for r in many:
        forces = np.linalg.norm(r.atoms.get_forces(), axis=1)
        assert r.fmax[-1] == pytest.approx(forces.max())
    table, *_, last = str(many).splitlines()
    assert table.split() == [
        *("molecule", "formula", "steps", "energy", "/", "eV", "force", "/", "eV/A"),
        *("uncertainty", "/", "eV", "of", "a", "force", "/", "eV/A"),
    ]
    assert last == "converged: 0 of 2; 0 doubtful; uncertainty of 2 unknown (no committee)"


def test_the_text_of_many_relaxations_lists_the_worst_first(many: Relaxations) -> None:
    good = RelaxResult(
        atoms=many[0].atoms,
        converged=True,
        n_steps=1,
        energy=np.array([-1.0]),
        fmax=np.array([0.001]),
    )
    failed = RelaxResult(
        atoms=many[1].atoms,
        converged=False,
        n_steps=0,
        energy=np.zeros(0),
        fmax=np.zeros(0),
        error=RuntimeError("no way down"),
    )
    text = str(Relaxations([*[good] * 30, many[1], failed]))
    assert "\n      30  H2O      NOT converged" in text
    assert "molecule 31 failed: no way down" in text
    assert "... and 12 more" in text
    assert "converged: 30 of 32; 1 failed; 0 doubtful" in text


def test_nothing_to_draw(run: DynamicsResult) -> None:
    for empty in (Relaxations(), RelaxResult(
        atoms=molecule("H2O"), converged=False, interrupted=True, n_steps=0,
        energy=np.zeros(0), fmax=np.zeros(0),
    )):  # fmt: skip
        with pytest.raises(ValueError, match="expected a run with at least one record, got none"):
            empty.plot()
        assert "<img" not in empty._repr_html_()
    assert "<img" in run._repr_html_()  # the control
