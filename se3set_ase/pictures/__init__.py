"""Still pictures and interactive views of a hypergraph."""
