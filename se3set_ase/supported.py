"""Whether a model was made for a system."""

from __future__ import annotations

from ase import Atoms

from se3set_ase.checkpoint.metadata import ModelMetadata
from se3set_ase.io.text import symbol
from se3set_ase.system import UnsupportedSystem, check_electrons


def check_supported(
    metadata: ModelMetadata, atoms: Atoms, charge: int, spin_multiplicity: int
) -> None:
    """Raise :class:`UnsupportedSystem` for atoms, a charge, spin or cell that it does not know."""
    if len(atoms) == 0:
        raise UnsupportedSystem("expected at least one atom, got none")
    if foreign := sorted(set(atoms.numbers.tolist()) - set(metadata.elements)):
        raise UnsupportedSystem(
            f"expected the elements {', '.join(metadata.symbols)}, which model "
            f"{metadata.name!r} was trained on, got {', '.join(map(symbol, foreign))}"
        )
    for name, value, known in (
        ("charge", charge, metadata.charges),
        ("spin_multiplicity", spin_multiplicity, metadata.multiplicities),
    ):
        # An isolated atom may have any spin, because its energy is exact.
        if value not in known and not (name == "spin_multiplicity" and len(atoms) == 1):
            raise UnsupportedSystem(
                f"expected {name} {' or '.join(map(str, known))}, which model "
                f"{metadata.name!r} was trained on, got {value}"
            )
    if charge and len(atoms) == 1:
        raise UnsupportedSystem(
            f"expected a neutral atom, whose energy is exact, got charge {charge}"
        )
    check_electrons(atoms, charge=charge, spin_multiplicity=spin_multiplicity)
    if (metadata.long_range or {}).get("charges") and atoms.pbc.any():
        _check_sum_over_images(metadata, atoms, charge)


def _check_sum_over_images(metadata: ModelMetadata, atoms: Atoms, charge: int) -> None:
    if not atoms.pbc.all():
        raise UnsupportedSystem(
            f"expected periodic boundaries in all directions or none for model {metadata.name!r}, "
            f"which has electrostatics, got {atoms.pbc.tolist()}"
        )
    if charge:
        raise UnsupportedSystem(
            f"expected a neutral cell for model {metadata.name!r}, because the electrostatic "
            f"energy of others is infinite, got charge {charge}"
        )
