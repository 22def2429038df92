"""Texts and names avoid the words in the left column of the glossary in CONTRIBUTING.md."""

from __future__ import annotations

import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

AVOIDED = {
    "tells, told": r"tell|tells|telling|told",
    "dear, dearer method": r"dear|dearer|dearest",
    "torn, half broken bond": r"torn|half[ -]broken",
    "surroundings": r"surroundings?",
    "lone atom": r"lone[ -]atoms?",
    "anew, afresh, once more": r"anew|afresh|once more",
    "asked for": r"asked for",
    "costs the others nothing": r"costs? the others? nothing",
    "on top of each other": r"on top of (?:each |one an)other",
    "goes on": r"goes on|go on|went on|going on",
    "sum formula": r"sum formulas?|sum formulae",
    "beside": r"beside",
    "minima that are not there": r"minima that are not there",
    "pulled pairs, pieces, turning": r"pulled pairs?",
}
"""Pattern by the cell of the glossary that it stands for."""
WORDS = re.compile(rf"\b(?:{'|'.join(AVOIDED.values())})\b", re.IGNORECASE)

ALLOWED = (
    "tests/test_language.py",  # the patterns above
    "docs/tutorials/printed/",  # output of other programs too
)
ALLOWED_WORDS = {  # names in the files of labels, and the seed of their random numbers
    ("research/organic/data/README.md", "torn"),
    ("research/organic/dataset.py", "torn"),
    ("research/organic/dimer_scans.py", "pulled pairs"),
    ("research/organic/smallest.py", "torn"),
}

TEXT = {".md", ".toml", ".yml", ".yaml", ".cff", ".ipynb", ""}
BINARY = {".png", ".gz", ".svg", ".safetensors", ".csv", ".xyz", ".txt", ".smi", ".json", ".js"}


def tracked_files() -> list[str]:
    """Paths of all files in the repository, relative to its root."""
    try:
        listed = subprocess.run(
            ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs a git checkout")
    return [path for path in listed if not path.startswith(ALLOWED)]


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Comments, strings and names (as words) of Python code, with their line numbers."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string.replace("_", " ")
        elif token.type not in (tokenize.OP, tokenize.NUMBER, tokenize.NEWLINE):
            yield token.start[0], " ".join(token.string.split())


def found_in(path: str, text: str) -> list[str]:
    """``path:line: word`` for each avoided word."""
    if path == "CONTRIBUTING.md":  # without the glossary itself
        text = re.sub(r"^\|.*$", "", text, flags=re.MULTILINE)
    parts = prose(text) if path.endswith(".py") else enumerate(text.splitlines(), start=1)
    return [
        f"{path}:{line}: {match[0]}"
        for line, part in parts
        for match in WORDS.finditer(part)
        if (path, match[0].lower()) not in ALLOWED_WORDS
    ]


def test_texts_avoid_the_words_of_the_glossary() -> None:
    found = []
    paths = [path for path in tracked_files() if Path(path).suffix in TEXT | {".py"}]
    assert "README.md" in paths
    for path in paths:
        found += found_in(path, (ROOT / path).read_text(encoding="utf-8"))
    assert found == [], "see Language in CONTRIBUTING.md:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ('"""Tells the energy."""\n', 1),
        ("x = 1\n# The list is made\n# anew.\n", 3),
        ('f"{1} is a\\n lone atom"\n', 1),
        ("def told_to(x):\n    pass\n", 1),
        ('"""It goes\n    on."""\n', 1),
    ],
)
def test_planted_words_are_found(code: str, line: int) -> None:
    """The control."""
    (found,) = found_in("planted.py", code)
    assert found.startswith(f"planted.py:{line}: ")
    assert found_in("planted.md", "Energies beside forces.\n") == ["planted.md:1: beside"]


def test_code_of_other_meaning_is_not_found() -> None:
    assert found_in("fine.py", "lonely = besides = 1  # untold\n") == []


def test_every_word_is_in_the_glossary() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE))
    assert set(AVOIDED) == set(rows) - {"avoid"}
    assert set(BINARY).isdisjoint(TEXT)
    unknown = (
        {Path(path).suffix for path in tracked_files()}
        - TEXT
        - BINARY
        - {".py", ".css", ".html", ".typed"}
    )
    assert not unknown, "say in this test whether they are texts"
