"""Energies of pairs at any distance: dispersion, and electrostatics of predicted charges."""
