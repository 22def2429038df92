"""Geometries with GFN2-xTB labels, which models are pre-trained on."""
