"""Tables of errors against the benchmark reactions (docs/truth.csv)."""

from __future__ import annotations

from collections.abc import Sequence

from cells import Content, Row, number

#: Mean absolute reference energy of GMTKN55, kcal/mol, as in research.truth.reactions.
WTMAD2 = 56.84
#: Bundled models, whose names are written as code.
MODELS = ("organic", "organic-xtb")


def benchmark_scores(rows: list[Row]) -> Content:
    """Number of reactions and weighted score of each method, by category."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    cells = []
    for category in dict.fromkeys(row["category"] for row in rows):
        ours = [row for row in rows if row["category"] == category]
        of_method = [[row for row in ours if row["method"] == method] for method in methods]
        n_reactions = sum(int(row["n"]) for row in of_method[0])
        cells.append(
            [
                category,
                str(n_reactions),
                *(f"{score(some):.1f}" if some else "" for some in of_method),
            ]
        )
    return ["category", "reactions", *headings(methods)], cells


def score(rows: Sequence[Row]) -> float:
    """:func:`research.truth.reactions.score` of rows of the file."""
    total = sum(int(row["n"]) for row in rows)
    weights = [int(row["n"]) * WTMAD2 / float(row["mean_abs_energy"]) for row in rows]
    deviations = [float(row["mad"]) for row in rows]
    return sum(w * d for w, d in zip(weights, deviations, strict=True)) / total


def benchmark_sets(rows: list[Row]) -> Content:
    """Mean absolute deviation of each method, by set."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    found = {(row["set"], row["method"]): row["mad"] for row in rows}
    sets = {row["set"]: row for row in rows}
    head = ["set", "category", "reactions", "mean energy, kcal/mol", *headings(methods)]
    return head, (
        [
            name,
            row["category"],
            row["n"],
            number(row["mean_abs_energy"]),
            *(number(found.get((name, method), "")) for method in methods),
        ]
        for name, row in sets.items()
    )


def headings(methods: Sequence[str]) -> list[str]:
    return [f"`{method}`" if method in MODELS else method for method in methods]
