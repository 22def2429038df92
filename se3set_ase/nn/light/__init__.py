"""The default network: inexpensive vertex -> hyperedge -> vertex attention."""
