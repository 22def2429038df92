"""The command ``vibrations``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from se3set_ase.checkpoint.metadata import DEFAULT_MODEL
from se3set_ase.cli.console import check_outputs, make_calculator
from se3set_ase.cli.options import (
    UNFINISHED,
    Charge,
    ConformerSeed,
    Device,
    Isolated,
    Model,
    Overwrite,
    Precision,
    Record,
    SpinMultiplicity,
    Structure,
)
from se3set_ase.cli.source import find_source, read_molecule

__all__ = ["vibrations"]


def vibrations(
    file: Structure,
    model: Model = DEFAULT_MODEL,
    scale: Annotated[
        float, typer.Option(help="Factor of the frequencies, e.g. 0.95 to compare with experiment.")
    ] = 1.0,
    temperature: Annotated[float, typer.Option(help="For the thermochemistry, K.")] = 298.15,
    pressure: Annotated[float, typer.Option(help="For the thermochemistry, Pa.")] = 101325.0,
    symmetry_number: Annotated[
        int, typer.Option(min=1, help="Symmetry number of the molecule, for its entropy.")
    ] = 1,
    table: Annotated[
        Path | None,
        typer.Option(help="Frequencies (CSV).  [default: mol-vibrations.csv for mol.xyz]"),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Infrared spectrum.  [default: mol-vibrations.png for mol.xyz]"),
    ] = None,
    modes: Annotated[
        Path | None,
        typer.Option(help="Folder for a trajectory of each mode, created if it is missing."),
    ] = None,
    device: Device = "auto",
    charge: Charge = None,
    spin_multiplicity: SpinMultiplicity = None,
    record: Record = None,
    conformer_seed: ConformerSeed = 0,
    isolated: Isolated = False,
    overwrite: Overwrite = False,
) -> None:
    """Harmonic frequencies, infrared intensities and thermochemistry.

    Relax the molecule first, with --fmax 0.001. The exit code is 1 if it is not at a stationary
    point.
    """
    from se3set_ase import simulate
    from se3set_ase.simulate import plots
    from se3set_ase.simulate.harmonic import STATIONARY
    from se3set_ase.simulate.steps import check_positive

    check_positive(temperature=temperature, pressure=pressure, scale=scale)
    source = find_source(file, conformer_seed)
    atoms = read_molecule(
        source,
        record=record,
        charge=charge,
        spin_multiplicity=spin_multiplicity,
        isolated=isolated,
    )
    table = table or Path(f"{source.stem}-vibrations.csv")
    plot = plot or Path(f"{source.stem}-vibrations.png")
    plots.check_format(plot)
    check_outputs(overwrite, table, plot)
    if modes is not None and modes.exists() and not modes.is_dir():
        raise NotADirectoryError(f"expected a folder for the modes, got the file {modes}")
    if modes is not None and not overwrite and any(modes.glob("mode-*.xyz")):
        raise FileExistsError(f"{modes} has modes already; give another folder or --overwrite")
    atoms.calc = make_calculator(
        model, device, Precision.float64, charge, spin_multiplicity, compile=False
    )
    result = simulate.vibrations(atoms, scale=scale)
    result.to_csv(table)
    result.plot(plot, title=f"{atoms.get_chemical_formula()}, model {model}")
    written = [str(table), str(plot)]
    if modes is not None:
        modes.mkdir(parents=True, exist_ok=True)
        written.append(f"{len(result.write_modes(modes))} modes in {modes}")
    typer.echo(f"model {atoms.calc.potential.metadata.name}")
    typer.echo(str(result).rsplit("\n", 1)[0] if len(result.frequencies) else "no vibrations")
    stationary = result.longest_force <= STATIONARY
    if stationary and (result.frequencies > 0).all() and len(atoms) > 1:
        thermo = result.thermo(symmetry_number=symmetry_number)
        quantities = (
            ("enthalpy", thermo.get_enthalpy(temperature, verbose=False), "eV"),
            ("entropy", thermo.get_entropy(temperature, pressure, verbose=False), "eV/K"),
            ("Gibbs energy", thermo.get_gibbs_energy(temperature, pressure, verbose=False), "eV"),
        )
        conditions = f"{temperature:g} K, {pressure:g} Pa, symmetry number {symmetry_number}"
        typer.echo(f"ideal gas, rigid rotor, harmonic oscillators; {conditions}:")
        for name, value, unit in quantities:
            typer.echo(f"{name:15s}{value:.6f} {unit}")
    typer.echo(f"written: {', '.join(written)}")
    typer.echo(result.summary())
    if not stationary:
        raise typer.Exit(UNFINISHED)
