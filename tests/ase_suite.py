"""A pytest plugin that runs ASE's own tests with this calculator, see test_ase_suite.py.

ASE's tests request calculators in two ways. Tests marked with names of calculators also run with
this one, and EMT, which other tests use as an example, is replaced. The outcome of each test is
written as a JSON line to the file ``$ASE_SUITE_REPORT``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import ase.calculators.emt
import pytest
import torch
from ase.test import factories

from se3set_ase import SE3SetCalculator

MODEL = "gfn2"  # knows H, C, N and O
calls = 0


class Counting(SE3SetCalculator):
    """Distinguishes tests that used the calculator from others."""

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        global calls
        calls += 1
        super().calculate(*args, **kwargs)


class InPlaceOfEMT(Counting):
    """EMT's only parameter chooses between cutoffs of its own."""

    def __init__(self, asap_cutoff: bool = False, **kwargs: Any):
        super().__init__(MODEL, device="cpu", **kwargs)


@factories.factory(SE3SetCalculator.name)
class Factory:
    def __init__(self, cfg: object):
        pass

    def calc(self, **kwargs: Any) -> SE3SetCalculator:
        return Counting(MODEL, device="cpu", **kwargs)


def pytest_configure() -> None:
    torch.set_num_threads(1)
    ase.calculators.emt.EMT = InPlaceOfEMT  # before any test module imports it
    factories.Factories.autoenabled_calculators |= {SE3SetCalculator.name}


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = [n for m in metafunc.definition.iter_markers("calculator") for n in m.args]
    if len(names) > 1:  # a test for any calculator, not for one program
        metafunc.definition.add_marker(pytest.mark.calculator(SE3SetCalculator.name))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    global calls
    report = yield
    if report.when == "teardown":
        calls = 0  # those of the fixtures count for the test
    if report.when == "call" or call.excinfo is not None:
        error = "" if call.excinfo is None else f"{call.excinfo.typename}: {call.excinfo.value}"
        row = {"test": item.nodeid, "error": error, "used": calls > 0}
        with Path(os.environ["ASE_SUITE_REPORT"]).open("a") as file:
            file.write(json.dumps(row) + "\n")
    return report
