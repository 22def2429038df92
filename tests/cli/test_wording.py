"""Messages at the command line name its options, not Python's arguments."""

from __future__ import annotations

import pytest

from se3set_ase.cli.wording import for_shell


@pytest.mark.parametrize(
    ("python", "shell"),
    [
        ("expected temperature_K of at least 0, got nan", "expected --temperature of at least 0"),
        ("refragment='frozen': the fragments are", "--refragment frozen: the fragments are"),
        ("atoms.info['net_charge'] is not read", "the entry 'net_charge' of the file is not read"),
        (
            "cells are not possible with compile=True; set atoms.pbc = False",
            "cells are not possible with --compile; use --isolated",
        ),
        ("expected elements H, C, got O", "expected elements H, C, got O"),
    ],
)
def test_words(python: str, shell: str) -> None:
    assert for_shell(python).startswith(shell)
