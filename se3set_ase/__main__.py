"""``python -m se3set_ase`` is the command ``se3set-ase``."""

from se3set_ase.cli import app

if __name__ == "__main__":
    app()
