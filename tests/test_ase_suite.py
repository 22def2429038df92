"""ASE's own tests of calculators, run on this one, with warnings as errors as ASE has them.

Those of molecules pass. Each of the others fails for a reason that is listed here: a system that
is refused on purpose, or a number of another method. ``pytest -s`` prints how many there are.

Left out are ASE's longest tests (H3O2- along NEB paths, H3 under an external force, mirror forces),
those of single programs, and further ones of metals: what these ask of
optimisers and dynamics is in test_calculator_in_ase.py and test_restart.py.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import ase
import pytest

SUITE = Path(ase.__file__).parent / "test"

PASS = (
    "atoms/test_h2.py::test_h2",
    "calculator/test_harmonic.py::test_compatible_with_ase_vibrations",
    "calculator/test_traj.py::test_h2_traj[se3set]",
    "constraints/test_fixcom.py::test_center_of_mass_position",
    "constraints/test_fixedline_fixedplane.py::test_constrained_optimization_fixedline[indices0]",
    "constraints/test_fixedline_fixedplane.py::test_constrained_optimization_fixedline[indices1]",
    "constraints/test_fixedline_fixedplane.py::test_constrained_optimization_fixedplane[indices0]",
    "constraints/test_fixedline_fixedplane.py::test_constrained_optimization_fixedplane[indices1]",
    "constraints/test_fixinternals.py::test_combos",
    "constraints/test_fixinternals.py::test_fixinternals",
    "constraints/test_fixinternals.py::test_planar_angle_error",
    "constraints/test_fixinternals.py::test_undefined_dihedral_error",
    "constraints/test_fixinternals.py::test_zero_distance_error",
    "constraints/test_fixsubsetcom.py::test_center_of_mass_position",
    "filter/test_filter.py::test_filter",
    "neb/test_shared_calculator_neb.py::TestNEB::test_freeze_method",
    "vibrations/test_bond_polarizability_raman.py::test_bulk",
    "vibrations/test_bond_polarizability_raman.py::test_bulk_kpts",
    "vibrations/test_bond_polarizability_raman.py::test_c3",
    "vibrations/test_franck_condon.py::test_ch4_minfreq",
    "vibrations/test_pickle2json.py::test_pickle2json",
    "vibrations/test_vibrations_example.py::test_vibrations_example",
)
OTHERS = (
    "calculator/socketio/test_h2_stiffness.py",
    "calculator/socketio/test_integration.py",
    "calculator/test_ch4_energy.py",
    "calculator/test_fd.py",
    "calculator/test_h2.py",
    "calculator/test_h2_bond_force.py",
    "calculator/test_si_stress.py",
    "calculator/test_traj.py",
    "md/test_langevin_com.py",
    "md/test_md.py",
    "optimize/test_restart.py",
    "standardization/test_properties.py",
    "test_potential_energies.py",
    "test_singlepointcalc.py",
    "test_thermochemistry.py",
)

#: Why a test cannot pass, by its error, or by its name where that says nothing.
BY_ERROR = {
    r"InputError: expected the elements": "elements that the model does not know, refused",
    r"InputError: expected spin_multiplicity 1": "a radical, refused",
    r"PropertyNotImplementedError: stress": "a molecule has no stress",
    r"CalculatorSetupError: expected parameters .* got \['(xc|kpts)'\]": "of density functionals",
}
BY_NAME = {
    "calculator/socketio/test_h2_stiffness.py": "starts a program that talks through a socket",
    "calculator/socketio/test_integration.py": "starts a program that talks through a socket",
    "calculator/test_h2_bond_force.py": "the bond length of H2, which the model never saw",
    "calculator/test_ch4_energy.py": "a reaction energy of H2 and C2H2, which the model never saw",
    "test_thermochemistry.py::test_ideal_gas_thermo_monoatomic": "the energy that EMT has",
    "test_thermochemistry.py::test_ideal_gas_thermo_n2": "the frequency that EMT has",
    "vibrations/test_franck_condon.py::test_ch4_all": "the modes that EMT has, in their order",
}


def why_not(test: str, error: str) -> str:
    """The reason listed above; none for an error that is one of this package."""
    for pattern, reason in BY_ERROR.items():
        if re.match(pattern, error):
            return reason
    return next((reason for name, reason in BY_NAME.items() if test.startswith(name)), "")


def run(folder: Path) -> list[dict[str, str]]:
    """Outcome of each test that used the calculator, or failed."""
    report, configuration = folder / "report.jsonl", folder / "pytest.ini"
    configuration.write_text("[pytest]\n")  # not that of this repository
    modules = sorted({test.split("::")[0] for test in (*PASS, *OTHERS)})
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "ase_suite"]
    command += ["-p", "no:cacheprovider", "-c", str(configuration), f"--rootdir={SUITE}"]
    done = subprocess.run(
        [*command, *(module for module in modules if (SUITE / module).exists())],
        cwd=SUITE,
        env={
            **os.environ,
            "ASE_SUITE_REPORT": str(report),
            "CUDA_VISIBLE_DEVICES": "",
            "PYTEST_ADDOPTS": "",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    rows = [json.loads(line) for line in report.read_text().splitlines()]
    return [row for row in rows if row["used"] or row["error"]]


@pytest.mark.skipif(not SUITE.exists(), reason="this ASE came without its tests")
def test_ase_tests(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    passed, unexplained = set(), []
    for row in run(tmp_path):
        test, error = row["test"], row["error"]
        if not error:
            passed.add(test)
        elif error.startswith("Skipped: "):  # another calculator, or what else is not installed
            counts["skipped, for another program"] += 1
        elif reason := why_not(test, error):
            counts[f"cannot: {reason}"] += 1
        else:
            unexplained.append((test, error))
    counts["passed"] = len(passed)
    print("", *(f"{n:4} {what}" for what, n in counts.most_common()), sep="\n")
    assert unexplained == []
    assert passed >= set(PASS)
    assert (
        counts["cannot: elements that the model does not know, refused"] > 5
    )  # the control: failures are seen


def test_errors_of_this_package_are_not_excused() -> None:
    for error in ("InputError: expected atoms apart", "AssertionError: ", "UserWarning: "):
        assert why_not("calculator/test_traj.py::test_h2_traj[se3set]", error) == ""
