"""Messages of the package in the words of the command line."""

from __future__ import annotations

import re

#: How Python and the command line name the same thing.
WORDS = (
    (r"temperature_K\b", "--temperature"),
    (r"refragment='(\w+)'", r"--refragment \1"),
    (r"'none' as initial model", "--initial none"),
    (r"the charge as an option of the method", "it as --option charge=..."),
    (r"another name or overwrite it", "another name or --overwrite"),
    (r"compile=True\b", "--compile"),
    (r"set atoms\.pbc = False", "use --isolated"),
    (r"atoms\.info\[('[^']*')\]", r"the entry \1 of the file"),
)


def for_shell(message: object) -> str:
    """The message with options of commands instead of arguments of functions."""
    text = str(message)
    for python, shell in WORDS:
        text = re.sub(python, shell, text)
    return text
