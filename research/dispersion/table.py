"""Factorise the reference C6 coefficients of D3 into inner products of short vectors.

    python -m research.dispersion.table

Writes ``se3set_ase/nn/longrange/dispersion.json`` from the tables of tad-dftd3 (Apache-2.0), which
are those of Grimme, Antony, Ehrlich, Krieg, J. Chem. Phys. 132, 154104 (2010), and prints the
largest relative error of a coefficient.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from ase.units import Bohr

#: Elements up to xenon.
LAST = 54
#: Numbers per reference; the relative error is below 3e-5.
RANK = 10
DIGITS = 10
OUTPUT = Path(__file__).parents[2] / "se3set_ase/nn/longrange/dispersion.json"


def factorised(c6: np.ndarray) -> np.ndarray:
    """Vectors (R, RANK) whose inner products are the coefficients (R, R), in their unit."""
    size = np.sqrt(np.diag(c6))
    values, vectors = np.linalg.eigh(c6 / np.outer(size, size))
    kept = np.sqrt(values[-RANK:]) * vectors[:, -RANK:]
    # The sign of an eigenvector is arbitrary: the largest component is positive.
    kept *= np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(RANK)])
    found: np.ndarray = size[:, None] * kept
    return found


def main() -> None:
    import torch
    from tad_dftd3 import data
    from tad_dftd3.reference import Reference
    from tad_mctc.data import radii

    reference = Reference()
    numbers = reference.cn.numpy().astype(float)
    z, a = np.nonzero(numbers[: LAST + 1] >= 0.0)
    z, a = z[z > 0], a[z > 0]
    c6 = reference.c6.numpy().astype(float)[z[:, None], z, a[:, None], a]
    vectors = factorised(c6)
    error = np.abs(vectors @ vectors.T / c6 - 1.0).max()
    r4r2 = data.R4R2(dtype=torch.float64).numpy()
    covalent = radii.COV_D3(dtype=torch.float64).numpy() * Bohr
    elements = {
        str(element): {
            "r4r2": round(float(r4r2[element]), DIGITS),
            "radius": round(float(covalent[element]), DIGITS),
            "coordination": [round(float(x), DIGITS) for x in numbers[element, a[z == element]]],
            "vectors": [[float(f"{x:.{DIGITS}g}") for x in row] for row in vectors[z == element]],
        }
        for element in range(1, LAST + 1)
    }
    OUTPUT.write_text(json.dumps(elements, indent=None, separators=(",", ":")) + "\n")
    print(f"{len(z)} references, largest relative error of a C6 coefficient {error:.1e}")


if __name__ == "__main__":
    main()
