"""Tables, the learning curve, and the result of a learning run."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from se3set_ase.io.files import write_atomically
from se3set_ase.io.progress import duration
from se3set_ase.io.text import table as text_table


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round: errors on its fresh geometries before any model was trained on them.

    Attributes
    ----------
    round : number, from 0.
    trained_on : labels of the model that was tested, validation included.
    fresh : number of new labels.
    failed : number of geometries without a label.
    random_forces : mean absolute error of the forces on geometries that were drawn at random from
        the dynamics, meV/Angstrom; NaN if there was no model.
    chosen_forces : the same on the uncertain geometries.
    random_energy : mean absolute error of the energies on the former, meV/atom.
    barrier : of the reaction on the surface of the tested model, eV.
    barrier_error : error of that barrier against labels of the same geometries, eV.
    saddle_change : since the previous round, Angstrom.
    seconds : wall time.
    """

    round: int
    trained_on: int
    fresh: int
    failed: int = 0
    random_forces: float = math.nan
    chosen_forces: float = math.nan
    random_energy: float = math.nan
    barrier: float = math.nan
    barrier_error: float = math.nan
    saddle_change: float = math.nan
    seconds: float = 0.0

    def row(self) -> dict[str, Any]:
        """As JSON, without NaN."""
        return {k: None if v != v else v for k, v in asdict(self).items()}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Round:
        """The inverse of :meth:`row`."""
        values: dict[str, Any] = {k: math.nan if v is None else v for k, v in row.items()}
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The result of :func:`se3set_ase.learn`; ``print`` shows the table of rounds.

    Attributes
    ----------
    folder : the model, for ``SE3SetCalculator(folder)``.
    rounds : errors of each round.
    test : errors of the final model on geometries that it sampled itself and that no training used,
        as :func:`se3set_ase.evaluate.evaluate` returns them; None if the run was interrupted.
    n_labels : number of labels, those of the test included.
    reason : why learning ended.
    level_of_theory : of the labels.
    charge : e.
    interrupted : whether Ctrl-C ended the run; the model is that of the last finished round.
    """

    folder: Path
    rounds: tuple[Round, ...]
    test: dict[str, Any] | None
    n_labels: int
    reason: str
    level_of_theory: str
    charge: int = 0
    interrupted: bool = False

    @property
    def code(self) -> str:
        """Lines of Python that use the model."""
        charge = f", charge={self.charge}" if self.charge else ""
        return (
            "from ase.io import read\n"
            "from se3set_ase import SE3SetCalculator\n\n"
            'atoms = read("molecule.xyz")\n'
            f'atoms.calc = SE3SetCalculator("{self.folder.as_posix()}"{charge})\n'
            "atoms.get_potential_energy()  # eV"
        )

    def plot(self, path: str | Path | None = None, *, target: float | None = None) -> Any:
        """The learning curve as a matplotlib figure, written to a file if a path is given."""
        figure = learning_curve(self.rounds, self.test, self.n_test, target=target)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    @property
    def n_test(self) -> int:
        """Number of labels of the final test."""
        return int(self.test["n_frames"]) if self.test else 0

    def __str__(self) -> str:
        lines = [table(self.rounds), "", f"ended: {self.reason}"]
        if self.test is not None:
            lines.append(
                f"final test, {self.n_test} geometries that no training used: forces "
                f"{self.test['forces_mae_meV_A']:.1f} meV/A, energies "
                f"{self.test['energy_mae_meV_per_atom']:.2f} meV/atom (mean absolute errors "
                f"against {self.level_of_theory})"
            )
        return "\n".join(lines)

    def _repr_png_(self) -> bytes:
        """The learning curve, in notebooks."""
        return png(self.plot())


def table(rounds: Sequence[Round]) -> str:
    """The rounds as text."""
    reaction = any(not math.isnan(r.barrier) for r in rounds)
    header = ["round", "trained on", "fresh", "random, meV/A", "chosen, meV/A", "meV/atom"]
    header += ["barrier, eV", "its error", "saddle, A"] if reaction else []
    rows = []
    for r in rounds:
        cells = [str(r.round), str(r.trained_on), str(r.fresh)]
        cells += [_number(r.random_forces, 1), _number(r.chosen_forces, 1)]
        cells += [_number(r.random_energy, 2)]
        if reaction:
            cells += [_number(v, 3) for v in (r.barrier, r.barrier_error, r.saddle_change)]
        rows.append([*cells, duration(r.seconds)])
    return text_table([*header, "time"], rows)


def write_table(rounds: Sequence[Round], path: Path) -> None:
    """Write the rounds as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Round)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in r.row().items()} for r in rounds)
    write_atomically(path, text.getvalue().encode())


def learning_curve(
    rounds: Sequence[Round],
    test: dict[str, Any] | None = None,
    n_test: int = 0,
    *,
    target: float | None = None,
) -> Any:
    """Errors on fresh geometries against the number of labels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, label, style in (
        ("random_forces", "fresh, random", "o-"),
        ("chosen_forces", "fresh, uncertain", "s--"),
    ):
        points = [(r.trained_on, getattr(r, name)) for r in rounds]
        points = [(x, y) for x, y in points if not math.isnan(y)]
        axes.plot([x for x, _ in points], [y for _, y in points], style, label=label)
    if test is not None and rounds:
        last = rounds[-1].trained_on + rounds[-1].fresh
        axes.plot([last], [test["forces_mae_meV_A"]], "k*", ms=11, label=f"final test, {n_test}")
    if target:
        axes.axhline(target, color="gray", lw=0.8)
    axes.set(xlabel="labels", ylabel="mean absolute error of forces (meV/Å)")
    if test is not None or any(not math.isnan(r.random_forces) for r in rounds):
        axes.set_yscale("log")
        axes.legend()
    axes.grid(alpha=0.3, which="both")
    return figure


def png(figure: Any) -> bytes:
    """A figure as PNG."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
