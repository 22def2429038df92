"""Molecules with their hyperedges, and runs, as pictures."""
