"""Times other potentials, built at their published sizes with random weights.

speed.py runs this file with the Python of an environment that has the potential; it imports nothing
of this repository.

    python peers.py NAME molecules.xyz    # prints JSON, a line for each molecule
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

#: Seconds of calls for each molecule, and the smallest and largest number of calls.
SECONDS, LEAST, MOST = 5.0, 3, 20
RATTLE = 0.01  # Angstrom, between two calls, so that no result is cached


class Peer(NamedTuple):
    """Packages to install, a function that makes an ASE calculator, and a note."""

    packages: tuple[str, ...]
    make: Callable[[], Any]
    note: str


def gfn2() -> Any:
    from tblite.ase import TBLite

    return TBLite(method="GFN2-xTB", verbosity=0)


def mace(irreps: str, cutoff: float) -> Any:
    import mace.calculators  # before e3nn, because it sets how e3nn loads its constants
    import numpy as np
    import torch
    from e3nn import o3
    from mace import modules

    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    elements = [1, 6, 7, 8, 9, 15, 16, 17, 35, 53]
    interaction = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    model = modules.ScaleShiftMACE(
        r_max=cutoff,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=interaction,
        interaction_cls_first=interaction,
        num_interactions=2,
        num_elements=len(elements),
        hidden_irreps=o3.Irreps(irreps),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.zeros(len(elements)),
        avg_num_neighbors=20.0,
        atomic_numbers=elements,
        correlation=3,
        gate=torch.nn.functional.silu,
        radial_MLP=[64, 64, 64],
        radial_type="bessel",
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )
    return mace.calculators.MACECalculator(models=model, device="cpu", default_dtype="float32")


def tensornet() -> Any:
    import torch
    from ase.calculators.calculator import Calculator, all_changes
    from torchmdnet.models.model import create_model

    torch.manual_seed(0)
    model = create_model(
        {
            "model": "tensornet",
            "num_layers": 2,
            "num_rbf": 32,
            "cutoff_lower": 0.0,
            "cutoff_upper": 4.5,
            "embedding_dimension": 128,
            "activation": "silu",
            "aggr": "add",
            "derivative": True,
            "max_num_neighbors": 64,
            "max_z": 100,
            "rbf_type": "expnorm",
            "trainable_rbf": False,
            "output_model": "Scalar",
            "output_mlp_num_layers": 1,
            "reduce_op": "add",
            "precision": 32,
            "prior_model": None,
            "atom_filter": -1,
            "remove_ref_energy": False,
            "equivariance_invariance_group": "O(3)",
            "box_vecs": None,
            "static_shapes": False,
            "check_errors": False,
            "vector_cutoff": False,
            "charge": False,
            "spin": False,
        }
    ).eval()

    class TensorNet(Calculator):
        """Does what torchmd-net's calculator does, which needs a checkpoint."""

        implemented_properties = ("energy", "forces")

        def calculate(self, atoms=None, properties=(), system_changes=all_changes):  # type: ignore[no-untyped-def]
            super().calculate(atoms, properties, system_changes)
            numbers = torch.tensor(atoms.numbers, dtype=torch.long)
            positions = torch.tensor(atoms.positions, dtype=torch.float32, requires_grad=True)
            energy, forces = model(numbers, positions, torch.zeros_like(numbers))
            self.results = {"energy": float(energy.detach()), "forces": forces.detach().numpy()}

    return TensorNet()


def nequip() -> Any:
    from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
    from nequip.integrations.ase import NequIPCalculator
    from nequip.model import NequIPGNNModel
    from nequip.utils.global_state import set_global_state

    set_global_state()
    symbols = ["H", "C", "N", "O", "F", "P", "S", "Cl", "Br", "I"]
    model = NequIPGNNModel(
        seed=0, model_dtype="float32", r_max=5.0, type_names=symbols, avg_num_neighbors=20.0
    ).eval()
    return NequIPCalculator(
        model,
        device="cpu",
        transforms=[ChemicalSpeciesToAtomTypeMapper(symbols), NeighborListTransform(r_max=5.0)],
    )


def ani2x() -> Any:
    import torch
    from torchani.arch import Assembler
    from torchani.constants import PERIODIC_TABLE  # noqa: F401
    from torchani.models import SYMBOLS_2X

    assembler = Assembler(periodic_table_index=True)
    assembler.set_symbols(SYMBOLS_2X)
    assembler.set_global_cutoff_fn("cosine")
    assembler.set_aev_computer(radial="ani2x", angular="ani2x", strategy="pyaev")
    assembler.set_atomic_networks(ctor="ani2x")
    assembler.set_neighborlist("all_pairs")
    assembler.set_gsaes_as_self_energies("wb97x-631gd")
    return assembler.assemble(8)[0].requires_grad_(False).to(torch.float32).ase()


def aimnet2() -> Any:
    from pathlib import Path

    import aimnet
    import torch
    from aimnet.calculators import AIMNet2ASE, AIMNet2Calculator
    from aimnet.config import build_module

    torch.manual_seed(0)
    model = build_module(str(Path(aimnet.__file__).parent / "models" / "aimnet2.yaml"))
    return AIMNet2ASE(AIMNet2Calculator(model.float().eval(), device="cpu"))


PEERS = {
    "GFN2-xTB": Peer(("tblite",), gfn2, "the method itself, no network"),
    "ANI-2x, one network": Peer(("torchani",), ani2x, "ANI-2x"),
    "AIMNet2, one network": Peer(("aimnet",), aimnet2, "AIMNet2 without dispersion"),
    "TensorNet": Peer(("torchmd-net",), tensornet, "as for rMD17: 128 channels, 2 layers, 4.5 A"),
    "NequIP": Peer(("nequip",), nequip, "defaults: 4 layers, l = 1, 32 features, 5 A"),
    "MACE-OFF small": Peer(("mace-torch",), lambda: mace("96x0e", 4.5), "96x0e, 4.5 A"),
    "MACE-OFF medium": Peer(
        ("mace-torch",), lambda: mace("128x0e + 128x1o", 5.0), "128x0e+128x1o, 5 A"
    ),
}


def measure(make: Callable[[], Any], file: str) -> None:
    """Print a JSON line with the wall time of a call for each molecule of the file."""
    import numpy as np
    from ase.io import read

    began = time.perf_counter()
    calculator = make()
    ready = time.perf_counter() - began
    try:
        import torch

        torch.set_num_threads(1)
        version = str(torch.__version__)
    except ImportError:
        version = ""
    rng = np.random.default_rng(0)
    for start in read(file, ":"):
        atoms = start.copy()
        atoms.calc = calculator
        times: list[float] = []
        began = time.perf_counter()
        for call in range(MOST + 2):
            atoms.positions = start.positions + rng.normal(scale=RATTLE, size=(len(atoms), 3))
            before = time.perf_counter()
            forces = atoms.get_forces()
            energy = atoms.get_potential_energy()
            if call >= 2:  # excludes what is done only once
                times.append(time.perf_counter() - before)
            assert forces.shape == (len(atoms), 3)
            assert np.isfinite(energy)
            if len(times) >= LEAST and time.perf_counter() - began > SECONDS:
                break
        row = {
            "atoms": len(atoms),
            "ms": 1e3 * statistics.median(times),
            "least_ms": 1e3 * min(times),
            "calls": len(times),
            "peak_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "ready_s": ready,
            "peer_torch": version,
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    measure(PEERS[sys.argv[1]].make, sys.argv[2])
