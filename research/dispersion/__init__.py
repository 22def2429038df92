"""The table of dispersion coefficients of the package."""
