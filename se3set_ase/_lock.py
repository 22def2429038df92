"""A lock for objects that are copied and pickled."""

from __future__ import annotations

import threading
import warnings
from types import TracebackType


class Lock:
    """A re-entrant lock; a copy is a new lock, which is free.

    Parameters
    ----------
    warning : issued once, when a thread has to wait for another one.
    """

    def __init__(self, warning: str = ""):
        self._warning = self._pending = warning
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        if self._lock.acquire(blocking=False):
            return
        warning, self._pending = self._pending, ""
        if warning:
            warnings.warn(warning, UserWarning, stacklevel=3)
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[Lock], tuple[str]]:
        return Lock, (self._warning,)
