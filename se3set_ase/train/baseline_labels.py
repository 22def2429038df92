"""Labels of the baseline method, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from ase.calculators.calculator import CalculationFailed
from tqdm import tqdm

from se3set_ase.baseline import Baseline, BaselineResult, imported
from se3set_ase.checkpoint.metadata import BaselineMethod
from se3set_ase.io.files import write_atomically
from se3set_ase.train.data import DataError, Frame, TrainingData
from se3set_ase.train.normalisation import fit_elements

_LOGGER = logging.getLogger(__name__)

#: Frames in one file of the cache.
CHUNK = 256
#: Largest share of frames without a baseline that are left out; more are an error.
FAILURES = 0.01


class CachedBaseline:
    """Subtracts the baseline from labelled geometries.

    Each file of the cache has the results of some frames under the hash of their geometries and
    of the method, so that an interrupted run resumes, and other runs use the same results. Several
    geometries are computed at once where that leaves each the ``OMP_NUM_THREADS`` threads that the
    environment asks for.

    Parameters
    ----------
    method : the baseline; its calculator is imported.
    folder : of the cache.
    progress : show a progress bar.

    Raises
    ------
    ImportError : the program is not installed.
    """

    def __init__(self, method: BaselineMethod, folder: Path, *, progress: bool = False):
        self.method = method
        self.folder = folder
        self.progress = progress
        self._baseline = Baseline(method, imported(method))
        self.reason = ""  # of the last failure

    def differences(self, data: TrainingData) -> TrainingData:
        """Return the same data with differences as labels.

        If there are ions, the energy per charge of the baseline is fitted: another method has
        another energy of a free electron. For GFN2-xTB the difference is large (the program xtb
        shifts its ionization potentials by 4.85 eV). It cancels where the charge is conserved.

        Raises
        ------
        DataError : see :meth:`subtract`.
        CalculationFailed : no result for an isolated atom.
        """
        train, validation = self.subtract(data.train), self.subtract(data.validation)
        per_charge = energy_per_charge(train)
        return TrainingData(
            train=[without_charge(frame, per_charge) for frame in train],
            validation=[without_charge(frame, per_charge) for frame in validation],
            atomic_energies=data.atomic_energies and self.subtract_atoms(data.atomic_energies),
            baseline=replace(self.method, energy_per_charge=per_charge),
        )

    def subtract(self, frames: Sequence[Frame]) -> list[Frame]:
        """Frames with the differences as labels.

        Frames without a baseline are left out, with a message, if they are few.

        Raises
        ------
        DataError : the baseline fails for more than one in a hundred frames.
        """
        found: list[Frame] = []
        failed: list[str] = []
        cores = os.cpu_count() or 1
        threads = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
        at_once = max(1, cores // (int(threads) if threads.isdecimal() else cores))
        chunks = [frames[k : k + CHUNK] for k in range(0, len(frames), CHUNK)]
        bar = tqdm(
            total=len(frames), desc=self.method.name, unit="frame", disable=not self.progress
        )
        with bar, ThreadPoolExecutor(at_once) as pool:
            for chunk in chunks:
                for frame, base in zip(chunk, self._results(chunk, pool), strict=True):
                    if base is None:
                        failed.append(frame.origin)
                    else:
                        energy, forces = base
                        found.append(
                            replace(
                                frame, energy=frame.energy - energy, forces=frame.forces - forces
                            )
                        )
                bar.update(len(chunk))
        if len(failed) > FAILURES * len(frames):
            raise DataError(
                f"{self.method.name}, the baseline, fails for {len(failed)} of {len(frames)} "
                f"frames, the first is {failed[0]}: {self.reason}"
            )
        if failed:
            _LOGGER.warning(
                "%d of %d frames are left out, the first is %s: %s, the baseline, fails (%s)",
                len(failed),
                len(frames),
                failed[0],
                self.method.name,
                self.reason,
            )
        return found

    def subtract_atoms(self, energies: Mapping[int, float]) -> dict[int, float]:
        """Subtract the baseline from energies (eV) of isolated neutral atoms, by atomic number.

        Raises
        ------
        CalculationFailed : no result for an atom.
        """
        at = np.zeros((1, 3))
        return {
            z: energy - self._baseline.evaluate(np.array([z]), at, 0, 1).energy
            for z, energy in energies.items()
        }

    def _results(
        self, frames: Sequence[Frame], pool: ThreadPoolExecutor
    ) -> list[tuple[float, np.ndarray] | None]:
        """Energy and forces of each frame, None if the method failed; cached."""
        path = self.folder / f"{self._name_of(frames)}.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as saved:
                energies, forces = saved["energies"], saved["forces"]
        else:
            results = list(pool.map(self._result, frames))
            energies = np.array([np.nan if r is None else r.energy for r in results])
            forces = np.concatenate(
                [
                    np.full_like(frame.forces, np.nan) if r is None else r.forces
                    for frame, r in zip(frames, results, strict=True)
                ]
            )
            if np.isfinite(energies).all():  # what failed may succeed in the next run
                content = io.BytesIO()
                np.savez_compressed(content, energies=energies, forces=forces)
                self.folder.mkdir(parents=True, exist_ok=True)
                write_atomically(path, content.getvalue())
        parts = np.split(forces, np.cumsum([len(f.numbers) for f in frames])[:-1])
        return [
            None if np.isnan(energy) else (float(energy), part)
            for energy, part in zip(energies, parts, strict=True)
        ]

    def _result(self, frame: Frame) -> BaselineResult | None:
        # A calculator of its own for each geometry, so that the result depends on nothing else.
        baseline = self._baseline.another()
        try:
            return baseline.evaluate(
                frame.numbers, frame.positions, frame.charge, frame.spin_multiplicity
            )
        except CalculationFailed as error:
            self.reason = str(error)
            return None

    def _name_of(self, frames: Sequence[Frame]) -> str:
        digest = hashlib.sha256(json.dumps(asdict(self.method), sort_keys=True).encode())
        for frame in frames:
            state = np.array([frame.charge, frame.spin_multiplicity])
            digest.update(frame.numbers.tobytes() + frame.positions.tobytes() + state.tobytes())
        return digest.hexdigest()


def energy_per_charge(frames: Sequence[Frame]) -> float:
    """Energy difference per charge, eV/e, fitted together with one energy for each element."""
    charges = np.array([frame.charge for frame in frames])
    if not charges.any():
        return 0.0
    elements = sorted({int(z) for frame in frames for z in frame.numbers})
    counts = np.array([[int((f.numbers == z).sum()) for z in elements] for f in frames])
    energies = np.array([frame.energy for frame in frames])
    return float(fit_elements(np.column_stack([counts, charges]), energies)[-1])


def without_charge(frame: Frame, energy_per_charge: float) -> Frame:
    """The frame without the part of its energy that is proportional to its charge."""
    return replace(frame, energy=frame.energy - frame.charge * energy_per_charge)
