"""The network: tensors in, energies out. Imports neither ASE nor RDKit."""
