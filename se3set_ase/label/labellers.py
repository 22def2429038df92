"""Labellers by the name of their method."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from se3set_ase.label.any_calculator import AnyCalculator
from se3set_ase.label.density_functional import COMPOSITES, DensityFunctional
from se3set_ase.label.protocol import Labeller

#: By tblite, at its default accuracy.
TIGHT_BINDING = ("GFN1-xTB", "GFN2-xTB", "IPEA1-xTB")


def make_labeller(
    method: str,
    *,
    charge: int | None = None,
    spin_multiplicity: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Labeller:
    """Labeller of a method that a user names.

    Parameters
    ----------
    method : ``wB97X-3c`` or ``FUNCTIONAL/BASIS`` (PySCF), ``GFN2-xTB`` and the like (tblite), or
        ``MODULE:CLASS``, any ASE calculator.
    charge, spin_multiplicity : of every molecule. By default each molecule's own, as it declares
        them, else 0 and 1; a molecule that declares something else than these gets no label. Of an
        ASE calculator they belong to the options, as ``charge`` and ``multiplicity`` or
        ``spin_multiplicity`` if it has these names.
    options : ``grid_level``, ``energy_tolerance``, ``unrestricted`` for PySCF; else arguments of
        the calculator.

    Raises
    ------
    ValueError : an unknown method or option, or a package that is not installed.
    """
    options = dict(options or {})
    if ":" in method:
        if charge is not None or spin_multiplicity is not None:
            raise ValueError(
                f"expected charge and spin among the options of {method}, got charge {charge} and "
                f"spin_multiplicity {spin_multiplicity}"
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
            raise ValueError(f"expected options out of {', '.join(known)}, got {unknown}")
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
            f"expected options grid_level, energy_tolerance and unrestricted, got {sorted(options)}"
        ) from error
    labeller.check()
    return labeller


def _needs(package: str) -> None:
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"labels need the package {package!r}: pip install 'se3set-ase[label]'"
        ) from error
