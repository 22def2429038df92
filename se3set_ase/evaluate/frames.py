"""Compare a potential with labelled frames."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, get_args

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed

from se3set_ase.evaluate.errors import EnergyErrors, Errors
from se3set_ase.evaluate.levels import Levels, OnOtherLevel, metadata_of
from se3set_ase.potential import Potential, Prediction
from se3set_ase.system import declared_dipole, declared_labels
from se3set_ase.uncertainty.committee import Uncertainty
from se3set_ase.uncertainty.doubt import Doubt, doubt_of

ALIGN = "other_level='align'"
"""How notes name this argument."""
_MEV = 1000.0  # meV per eV
#: Errors of forces, meV/Angstrom, that only rounding makes; no model is as close to other labels.
ROUNDING = 0.05
#: Errors of energies, meV/atom, that are those of references of energy and not of a model.
ANOTHER_REFERENCE = 1000.0


def evaluate(
    model: Any,
    frames: Iterable[Atoms],
    *,
    charge: int = 0,
    spin_multiplicity: int = 1,
    batch_size: int = 16,
    other_level: OnOtherLevel = "refuse",
    uncertainty: bool = True,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Compare energies, forces and dipoles with the labels of the frames.

    Frames are processed one by one and not kept, so the file may be larger than the memory. Ctrl-C
    ends the evaluation and returns the errors of the finished frames.

    The level of theory of the labels is ``info["level_of_theory"]``, as ``se3set-ase label`` writes
    it, or that of the model whose predictions they are.

    Parameters
    ----------
    model : A :class:`~se3set_ase.potential.Potential`, or any ASE calculator.
    frames : Labels are taken from the results that :func:`ase.io.read` attaches: ``energy``
        in eV, ``forces`` in eV/Angstrom, ``dipole`` in e Angstrom; any may be missing, in any
        frame.
    charge, spin_multiplicity : Charge and spin of the molecules, unless a frame declares its own;
        for a ``Potential`` only.
    batch_size : Frames per call of a ``Potential``.
    other_level : What to do with labels of another level of theory than the model's: ``"refuse"``
        them; ``"compare"`` them as they are; or ``"align"`` the energies first, by the energies of
        the elements that fit best to all frames (least squares).
    uncertainty : Evaluate the committee of a ``Potential`` that has one as well, which takes about
        three times as long.
    progress : Called with the number of frames finished since its last call.

    Returns
    -------
    ``n_frames`` frames done; over those with an energy ``energy_mae_meV``,
    ``energy_rmse_meV`` (per molecule) and ``energy_mae_meV_per_atom``; over all Cartesian
    components of those with forces ``forces_mae_meV_A`` and ``forces_rmse_meV_A``, and with a
    dipole ``dipole_mae_e_A`` and ``dipole_rmse_e_A``, if the model has dipoles; ``None``
    without such labels. ``n_energies``, ``n_force_components`` and ``n_dipole_components`` count
    the labels; ``complete`` is false after Ctrl-C. ``energy_uncertainty_rms_meV`` and
    ``forces_uncertainty_rms_meV_A`` are the root mean squares that the committee expects for the
    errors of all frames (compare them with the RMSE), ``None`` without a committee;
    ``n_doubtful`` counts the frames with a reason not to trust them, and ``doubts`` has these
    reasons by the number of the frame; ``levels`` are the levels of
    theory that the labels declare; ``element_energies`` (eV) were added to those of the labels to
    align them, by symbol; ``notes`` say what these errors mean if that is not their usual meaning.

    Raises
    ------
    OtherLevel : see ``other_level``; a ValueError.
    ValueError : a label is not finite or has the wrong shape, or a ``Potential`` does not support a
        molecule; the text has the number of the frame, from 0.
    CalculationFailed : the baseline of the model has no result; with the number of the frame.
    """
    if batch_size < 1:
        raise ValueError(f"expected a batch size of at least 1, got {batch_size}")
    if other_level not in get_args(OnOtherLevel):
        raise ValueError(
            f"expected other_level out of {get_args(OnOtherLevel)}, got {other_level!r}"
        )
    levels = Levels(metadata_of(model), other_level)
    energies, force = EnergyErrors(align=other_level == "align"), Errors()
    dipole = Errors()
    forced = False
    expected, expected_force = Errors(), Errors()
    reasons: dict[int, list[str]] = {}
    state = {"charge": charge, "spin_multiplicity": spin_multiplicity}
    n_frames = 0
    complete = True
    try:
        for batch in _batches(frames, batch_size):
            labels = [_labels(atoms, n_frames + i) for i, atoms in enumerate(batch)]
            dipoles: Sequence[np.ndarray | None]
            uncertainties: Sequence[Uncertainty | None] = [None] * len(batch)
            doubts: Sequence[Doubt] = []
            own = [levels.check(atoms, n_frames + i) for i, atoms in enumerate(batch)]
            if isinstance(model, Potential):
                found = _predict_batch(model, batch, state, first=n_frames)
                predictions = [(p.energy, p.forces) for p in found]
                dipoles = [p.results.get("dipole") for p in found]
                if uncertainty and model.committee is not None:
                    uncertainties = model.committee.uncertainties(found)
                pairs = zip(found, uncertainties, strict=True)
                doubts = [doubt_of(model, p, u) for p, u in pairs]
            else:
                forces = any(f is not None for _, f, _ in labels)
                predictions = _predict_each(model, batch, forces=forces)
                dipoles = [None] * len(batch)
            # Nothing below can fail, so a batch is never counted in part.
            compared = zip(batch, own, labels, predictions, dipoles, strict=True)
            for atoms, own_level, (e, f, d), (e_model, f_model), d_model in compared:
                if e is not None:
                    energies.add(atoms.numbers, e_model - e, same_level=own_level)
                if f is not None:
                    force.add((f_model - f) * _MEV)
                    forced |= bool(f.any())
                if d is not None and d_model is not None:
                    dipole.add(d_model - d)
            for e_expected, f_expected in filter(None, uncertainties):
                expected.add(np.array([e_expected]) * _MEV)
                # Of each component of the force on an atom.
                expected_force.add(np.repeat(f_expected / math.sqrt(3), 3) * _MEV)
            reasons |= {n_frames + i: list(d.reasons) for i, d in enumerate(doubts) if d.doubtful}
            n_frames += len(batch)
            if progress is not None:
                progress(len(batch))
    except KeyboardInterrupt:
        complete = False
    energy, per_atom, shifts = energies.errors()
    notes = levels.notes()
    if shifts:
        fitted = ", ".join(f"{name} {value:+.3f}" for name, value in shifts.items())
        notes.append(f"energies are aligned by fitted energies of the elements: {fitted} eV")
    elif energies.n_to_align:
        notes.append("too few frames to align energies: more are needed than there are elements")
    elif (per_atom.mae() or 0.0) > ANOTHER_REFERENCE:
        notes.append(
            "energies differ as those of different levels of theory or references do; "
            f"{ALIGN} fits energies of the elements first"
        )
    if forced and (force.mae() or 0.0) < ROUNDING and not notes:
        notes.append(
            "errors this small are rounding: these labels are likely predictions of this model"
        )
    return {
        "n_frames": n_frames,
        "energy_mae_meV": energy.mae(),
        "energy_rmse_meV": energy.rmse(),
        "energy_mae_meV_per_atom": per_atom.mae(),
        "forces_mae_meV_A": force.mae(),
        "forces_rmse_meV_A": force.rmse(),
        "n_energies": energies.n,
        "n_force_components": force.n,
        "dipole_mae_e_A": dipole.mae(),
        "dipole_rmse_e_A": dipole.rmse(),
        "n_dipole_components": dipole.n,
        "complete": complete,
        "levels": sorted(levels.found),
        "element_energies": shifts,
        "notes": notes,
        "energy_uncertainty_rms_meV": expected.rmse(),
        "forces_uncertainty_rms_meV_A": expected_force.rmse(),
        "n_doubtful": len(reasons),
        "doubts": reasons,
    }


def _batches(frames: Iterable[Atoms], size: int) -> Iterator[list[Atoms]]:
    iterator = iter(frames)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _labels(atoms: Atoms, index: int) -> tuple[float | None, np.ndarray | None, np.ndarray | None]:
    """Energy, forces and dipole of frame ``index``, which a ValueError names."""
    try:
        return *declared_labels(atoms), declared_dipole(atoms)
    except ValueError as error:
        raise ValueError(f"frame {index}: {error}") from error


def _predict_batch(
    model: Potential, batch: list[Atoms], state: dict[str, int], *, first: int
) -> list[Prediction]:
    """Predictions for a batch that starts with frame ``first``."""
    try:
        return model.predict(batch, **state, warn=False)
    except (ValueError, CalculationFailed) as error:
        if len(batch) == 1:
            kind = CalculationFailed if isinstance(error, CalculationFailed) else ValueError
            raise kind(f"frame {first}: {error}") from error
        return [  # one by one, to name the unsupported frame
            prediction
            for index, atoms in enumerate(batch)
            for prediction in _predict_batch(model, [atoms], state, first=first + index)
        ]


def _predict_each(
    calculator: Any, batch: list[Atoms], *, forces: bool
) -> list[tuple[float, np.ndarray]]:
    """Energies (eV) and forces (N, 3) (eV/Angstrom) of each frame from an ASE calculator."""
    predictions = []
    for labelled in batch:
        atoms = labelled.copy()  # the copy has no calculator, hence no labels
        atoms.calc = calculator
        f = atoms.get_forces() if forces else np.zeros((len(atoms), 3))
        predictions.append((float(atoms.get_potential_energy()), f))
    return predictions
