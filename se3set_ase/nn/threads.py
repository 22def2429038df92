"""Number of threads for a pass of the network.

A pass consists of hundreds of small operations, and threads wait for each other after each of them.
If another process is using one of the cores, each wait lasts until that process is suspended, which
makes a small molecule tens of times slower than with one thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

#: Edges for each thread; with fewer a second thread saves little time even on an idle machine.
EDGES_PER_THREAD = 2**14


@contextlib.contextmanager
def threads_for(n_edges: int) -> Iterator[None]:
    """Use as many threads as a graph of this size needs, at most those that torch has.

    Afterwards the number of threads is the previous one.
    """
    before = torch.get_num_threads()
    wanted = min(before, max(1, n_edges // EDGES_PER_THREAD))
    if wanted == before:
        yield
        return
    torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)
