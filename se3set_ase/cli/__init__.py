"""The command ``se3set-ase``."""

from se3set_ase.cli.main import app

__all__ = ["app"]
