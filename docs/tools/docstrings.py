"""An extension of griffe that converts the docstrings of this package to numpydoc.

The package writes ``name : description`` on one line, since types are in the signature; numpydoc
would take the text after the colon for the type. References in Sphinx notation become links if
these pages contain the target, and code otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import griffe

HEADING = re.compile(r"^([A-Z][a-z]+)\n-+\n", re.MULTILINE)
ITEM = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*) : ", re.MULTILINE)
#: A second item on the same line.
INLINE = re.compile(r"(?<=[.;]) (?=(\w+)(?:, \w+)* : )")
#: Two colons before an indented block: one is shown, or none if they are alone on their line.
LITERAL = re.compile(r"(?<=\w)(:):$|^::$", re.MULTILINE)
ROLE = re.compile(r":\w+:`(?:([^`<]*) <([^`>]*)>|([^`]*))`")
PROMPTS = re.compile(r"(?:^(?:>>>|\.\.\.) .*\n?)+", re.MULTILINE)
FLAG = re.compile(r" *# doctest:.*$", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrites every docstring of a package after the whole package has been read."""

    def on_package(self, *, pkg: griffe.Module, **_: object) -> None:
        """Called by griffe."""
        for thing in everything(pkg):
            if thing.docstring:
                thing.docstring.value = rewritten(thing.docstring.value, thing)


def everything(thing: griffe.Object) -> Iterator[griffe.Object]:
    """The object and everything defined in it."""
    yield thing
    for member in thing.members.values():
        if isinstance(member, griffe.Object):
            yield from everything(member)


def rewritten(text: str, thing: griffe.Object) -> str:
    """The docstring of an object in numpydoc format."""
    text = PROMPTS.sub(lambda found: f"```pycon\n{FLAG.sub('', found[0]).rstrip()}\n```\n", text)
    text = LITERAL.sub(r"\1", text)
    text = ROLE.sub(lambda found: reference(found, thing), text)
    start, *sections = HEADING.split(text)
    for heading, content in zip(sections[::2], sections[1::2], strict=True):
        start += f"{heading}\n{'-' * len(heading)}\n{section(heading, content, thing)}"
    return start


def section(heading: str, content: str, thing: griffe.Object) -> str:
    """The content of a section, with the description of each item on separate lines."""
    if heading == "Returns":
        return f":\n{indented(content)}\n\n"
    names = known_names(thing)
    content = INLINE.sub(lambda found: "\n" if found[1] in names else " ", content)
    before, *items = ITEM.split(content)
    if before.strip():
        raise ValueError(f"{thing.path}, {heading}: expected 'name : text', got {before!r}")
    lines = ""
    for item, what in zip(items[::2], items[1::2], strict=True):
        what = re.sub(r"^    ", "", what.strip(), flags=re.MULTILINE)
        each = [item.replace(", ", " | ")] if heading == "Raises" else item.split(", ")
        lines += "".join(f"{name}\n{indented(what)}\n" for name in each)
    return lines + "\n"


def known_names(thing: griffe.Object) -> set[str]:
    """Parameters and attributes that a docstring may describe."""
    parameters = getattr(thing, "parameters", ())
    return {parameter.name for parameter in parameters} | set(thing.members)


def indented(text: str) -> str:
    return re.sub(r"^(?=.)", "    ", text.strip(), flags=re.MULTILINE)


def reference(found: re.Match[str], thing: griffe.Object) -> str:
    """A link if these pages contain the target (known when they are complete), else code."""
    title, target = (found[1], found[2]) if found[2] else (None, found[3])
    shown = title or target.rpartition(".")[2]
    target = resolved(target.removeprefix("~"), thing)
    return f'<autoref optional identifier="{target}"><code>{shown}</code></autoref>'


def resolved(name: str, thing: griffe.Object | None) -> str:
    """The full name of the object that a docstring refers to."""
    first, dot, rest = name.partition(".")
    while thing is not None:
        if first in thing.members:
            member = thing.members[first]
            path = member.target_path if isinstance(member, griffe.Alias) else member.path
            return f"{path}{dot}{rest}"
        thing = thing.parent
    return name
