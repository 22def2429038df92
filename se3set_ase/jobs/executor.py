"""Executors for tasks: this process, new processes, or a dask cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor

from se3set_ase.jobs.resumable import SerialExecutor


@contextlib.contextmanager
def task_executor(processes: int, scheduler: str | None = None) -> Iterator[Executor]:
    """This process if one is enough, else :func:`workers`."""
    if processes == 1 and scheduler is None:
        yield SerialExecutor()
        return
    with workers(processes, scheduler) as executor:
        yield executor


@contextlib.contextmanager
def workers(processes: int, scheduler: str | None = None) -> Iterator[Executor]:
    """Single-threaded processes: new ones on this machine, or those of a dask cluster.

    If a process is killed, its task goes to another one.

    Raises
    ------
    ValueError : dask is not installed.
    OSError : no answer from the scheduler.
    """
    try:
        from distributed import Client, LocalCluster
    except ModuleNotFoundError as error:
        raise ValueError(
            f"several processes need the package {error.name!r}: pip install 'se3set-ase[label]'"
        ) from error
    with contextlib.ExitStack() as stack:
        address = scheduler or stack.enter_context(
            LocalCluster(
                n_workers=processes,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",  # any free port: another cluster may be running
                silence_logs="ERROR",
                memory_limit=0,  # no limit: it would kill a program that needs more than its share
            )
        )
        client = stack.enter_context(Client(address))
        yield client.get_executor(pure=False)
