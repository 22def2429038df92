"""The default network: vertex -> hyperedge -> vertex attention, made cheap."""
