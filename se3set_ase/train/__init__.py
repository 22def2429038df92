"""Training of a potential: extended XYZ in, checkpoint and card out."""
