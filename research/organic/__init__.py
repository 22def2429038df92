"""Molecules, geometries and labels of the model `organic`, and its committee."""
