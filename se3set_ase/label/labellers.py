"""Finds the labeller of a method by its name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from se3set_ase.label.any_calculator import AnyCalculator
from se3set_ase.label.density_functional import COMPOSITES, DensityFunctional
from se3set_ase.label.protocol import Labeller

#: Methods of tblite, run with its default accuracy.
TIGHT_BINDING = ("GFN1-xTB", "GFN2-xTB", "IPEA1-xTB")


def make_labeller(
    method: str,
    *,
    charge: int | None = None,
    spin_multiplicity: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Labeller:
    """Make the labeller of a method.

    Parameters
    ----------
    method : ``wB97X-3c`` or ``FUNCTIONAL/BASIS`` (PySCF), ``GFN1-xTB``, ``GFN2-xTB`` or
        ``IPEA1-xTB`` (tblite), or ``MODULE:CLASS`` for any ASE calculator.
    charge, spin_multiplicity : the same for all molecules; a molecule that declares other values
        gets no label. By default each molecule is labelled as it declares, else as a neutral
        singlet. For ``MODULE:CLASS``, pass them in ``options`` under the names that the calculator
        uses.
    options : for PySCF ``grid_level``, ``energy_tolerance`` and ``unrestricted``, otherwise
        keyword arguments of the calculator.

    Raises
    ------
    ValueError : the method or an option is unknown, or a package is not installed.
    """
    options = dict(options or {})
    if ":" in method:
        if charge is not None or spin_multiplicity is not None:
            raise ValueError(
                f"expected charge and spin multiplicity in the options of {method}, got charge "
                f"{charge} and spin_multiplicity {spin_multiplicity} as arguments"
            )
        calculator = AnyCalculator(
            calculator=method,
            level_of_theory=method,
            arguments=options,
            charge=options.get("charge", 0),
            spin_multiplicity=options.get("multiplicity", options.get("spin_multiplicity", 1)),
        )
        calculator.make()
        return calculator
    tight_binding = {name.lower(): name for name in TIGHT_BINDING}
    if name := tight_binding.get(method.lower()):
        _needs("tblite")
        calculator = AnyCalculator(
            calculator="tblite.ase:TBLite",
            level_of_theory=name,
            arguments={"method": name, "verbosity": 0, **options},
            names=("charge", "multiplicity"),
            charge=charge,
            spin_multiplicity=spin_multiplicity,
        )
        known = calculator.make().default_parameters
        if unknown := sorted(set(options) - set(known)):
            raise ValueError(f"expected options among {', '.join(known)}, got {unknown}")
        return calculator
    composites = {name.lower(): name for name in COMPOSITES}
    functional, _, basis = method.partition("/")
    if method.lower() not in composites and not (functional and basis):
        raise ValueError(
            f"expected {', '.join(COMPOSITES)}, FUNCTIONAL/BASIS, one of "
            f"{', '.join(TIGHT_BINDING)}, or MODULE:CLASS of an ASE calculator, got {method!r}"
        )
    _needs("pyscf")
    if method.lower() in composites:
        _needs("basis_set_exchange")
        _needs("pyscf.dispersion")
    try:
        labeller = DensityFunctional(
            level=composites.get(method.lower(), method),
            charge=charge,
            spin_multiplicity=spin_multiplicity,
            **options,
        )
    except TypeError as error:
        raise ValueError(
            f"expected options among grid_level, energy_tolerance, unrestricted, got "
            f"{sorted(options)}"
        ) from error
    labeller.check()
    return labeller


def _needs(package: str) -> None:
    """Raise ValueError if a package is not installed."""
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"labelling needs the package {package!r}: pip install 'se3set-ase[label]'"
        ) from error
