"""Relaxation of many molecules with many processes, see :mod:`se3set_ase.jobs.resumable`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from ase import Atoms

from se3set_ase import __version__
from se3set_ase.checkpoint.registry import resolve_model
from se3set_ase.checkpoint.store import load_metadata
from se3set_ase.io.levels import LEVEL, level_of_model
from se3set_ase.jobs.resumable import fingerprint, reason
from se3set_ase.potential import Potential
from se3set_ase.simulate import defaults
from se3set_ase.simulate.many import relax_many
from se3set_ase.simulate.results import Relaxations, RelaxResult
from se3set_ase.uncertainty.doubt import Doubt


@dataclass(frozen=True, kw_only=True)
class Relaxation:
    """Relaxes each molecule; arguments as in :func:`se3set_ase.simulate.many.relax_many`.

    Results have energy and forces, and in their ``info`` the model, ``converged``, ``n_steps``, a
    fingerprint of the initial molecule, and the doubt
    (:attr:`se3set_ase.uncertainty.doubt.Doubt.info`).
    """

    model: str
    device: str = "auto"
    dtype: Literal["float64", "float32"] = "float64"
    compile: bool = False
    charge: int = 0
    spin_multiplicity: int = 1
    fmax: float = defaults.FMAX
    steps: int = defaults.RELAX_STEPS
    optimizer: str = defaults.OPTIMIZER

    @property
    def index_key(self) -> str:
        """See :class:`se3set_ase.jobs.resumable.Work`."""
        return "relax_index"

    def record(self) -> dict[str, Any]:
        """All settings; the model by the hash of its weights, not by its path."""
        weights = load_metadata(resolve_model(self.model)).weights
        assert weights is not None  # load_metadata has checked it
        # These may differ between parts of the same run.
        variable = {"model", "device", "compile", "steps"}
        settings = {k: v for k, v in asdict(self).items() if k not in variable}
        return {
            "program": f"se3set-ase {__version__}",
            "weights_sha256": weights.sha256,
            "settings": settings,
        }

    def __call__(self, molecules: Sequence[Atoms]) -> list[Atoms | str]:
        """Relax molecules together, or one by one if one of them raises an error."""
        try:
            found = self._relaxed(molecules)
        except Exception as error:  # of one molecule, or too little memory for all
            if len(molecules) == 1:
                return [reason(error)]
            return [answer for atoms in molecules for answer in self([atoms])]
        return [
            reason(r.error) if r.error is not None else self._result(atoms, r)
            for atoms, r in zip(molecules, found, strict=True)
        ]

    def _relaxed(self, molecules: Sequence[Atoms]) -> Relaxations:
        return relax_many(
            molecules,
            _potential(self.model, self.device, self.dtype, self.compile),
            fmax=self.fmax,
            steps=self.steps,
            optimizer=self.optimizer,
            charge=self.charge,
            spin_multiplicity=self.spin_multiplicity,
        )

    def _result(self, start: Atoms, relaxed: RelaxResult) -> Atoms:
        name = _potential(self.model, self.device, self.dtype, self.compile).metadata.name
        relaxed.atoms.info |= {
            "model": self.model,
            LEVEL: level_of_model(name),
            "converged": relaxed.converged,
            "n_steps": relaxed.n_steps,
            "begun": fingerprint(start),
            **(relaxed.doubt.info if relaxed.doubt is not None else {}),
        }
        return relaxed.atoms

    def misfit(self, result: Atoms, given: Atoms | None) -> str:
        """See :class:`se3set_ase.jobs.resumable.Work`."""
        if given is None or result.info.get("begun") != fingerprint(given):
            return "that started from another geometry"
        whole = (
            np.array_equal(result.numbers, given.numbers)
            and isinstance(result.info.get("converged"), bool | np.bool_)
            and isinstance(result.info.get("n_steps"), int | np.integer)
        )
        return "" if whole else "that is damaged"

    def finished(self, result: Atoms) -> bool:
        """See :class:`se3set_ase.jobs.Work`: False if more steps are allowed now."""
        return bool(result.info["converged"]) or int(result.info["n_steps"]) >= self.steps


def results_of(
    molecules: Sequence[Atoms], work: Relaxation, output: Sequence[Atoms], failures: dict[int, str]
) -> Relaxations:
    """The results in an output, in the order of the molecules that were relaxed."""
    level = load_metadata(resolve_model(work.model)).level_of_theory
    done = {int(atoms.info[work.index_key]): atoms for atoms in output}
    results = []
    for index, start in enumerate(molecules):
        if index in done:
            atoms = done[index]
            forces = np.linalg.norm(atoms.get_forces(), axis=1)
            results.append(
                RelaxResult(
                    atoms=atoms,
                    converged=bool(atoms.info["converged"]),
                    n_steps=int(atoms.info["n_steps"]),
                    energy=np.array([atoms.get_potential_energy()]),
                    fmax=np.array([forces.max()]),
                    doubt=Doubt.from_info(atoms.info, level),
                )
            )
        else:
            why = RuntimeError(failures.get(index, "not relaxed"))
            none = np.zeros(0)
            results.append(
                RelaxResult(
                    atoms=start, converged=False, n_steps=0, energy=none, fmax=none, error=why
                )
            )
    return Relaxations(results)


@lru_cache(maxsize=1)
def _potential(model: str, device: str, dtype: Any, compile: bool) -> Potential:
    """Load the model once per process."""
    return Potential(model, device=device, dtype=dtype, compile=compile)
