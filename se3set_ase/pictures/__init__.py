"""Pictures of a hypergraph, from what the network saw: still ones, and ones that can be turned."""
