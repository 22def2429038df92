"""Tables of the cost of charges and dispersion."""

from __future__ import annotations

from cells import Content, Row, number


def cost(rows: list[Row]) -> Content:
    """Milliseconds of the network alone, and ratios of the others to it."""
    measured = [row for row in rows if row["ratio"]]
    first, *others = dict.fromkeys(row["model"] for row in measured)
    found = {(row["atoms"], row["compiled"], row["model"]): row for row in measured}
    headings = ["atoms", "compiled", f"{first}, ms", *(f"{name}, times" for name in others)]
    return headings, (
        [
            atoms,
            "yes" if compiled == "True" else "no",
            number(found[atoms, compiled, first]["ms"]),
            *(number(found[atoms, compiled, name]["ratio"]) for name in others),
        ]
        for atoms, compiled in dict.fromkeys((row["atoms"], row["compiled"]) for row in measured)
    )


def growth(rows: list[Row]) -> Content:
    """Milliseconds of a call for growing systems, and the exponent."""
    return ["system", "atoms", "ms", "exponent"], (
        [row["system"], row["atoms"], number(row["ms"]), number(row["exponent"])]
        for row in rows
        if row["exponent"]
    )
