"""Positions to hypergraph: bonds, fragments, and how they mix while bonds break and form."""
