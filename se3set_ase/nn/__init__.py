"""The network: tensors in, energies out. Works on tensors alone."""
