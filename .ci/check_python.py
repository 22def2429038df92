"""Stop with a clear message if the Python that the Makefile found is too old."""

import sys

if sys.version_info < (3, 10):
    sys.exit(
        "se3set-ase needs Python 3.10 or newer, and %s is %s. Choose another: "
        "make PYTHON=/path/to/python3 ..." % (sys.executable, sys.version.split()[0])
    )
