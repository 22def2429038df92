"""When a learning run ends."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from se3set_ase.learning import defaults
from se3set_ase.learning.report import Round


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Learning ends at the first of these limits.

    Attributes
    ----------
    forces : mean absolute error of forces on fresh geometries, meV/Angstrom.
    labels : number of labels, those of the final test included.
    hours : wall time; None for no limit.
    """

    forces: float
    labels: int
    hours: float | None

    def reason_to_end(
        self, rounds: Sequence[Round], *, reaction: bool, left: int, smallest: int, seconds: float
    ) -> str:
        """Why learning ends after these rounds; empty if it continues.

        Parameters
        ----------
        left : number of labels that remain, without the final test.
        smallest : number of labels that are worth a round.
        seconds : wall time so far.
        """
        if not rounds:
            return ""
        last = rounds[-1]
        if last.round > 0 and last.random_forces <= self.forces and not reaction:
            return f"forces on fresh geometries are within {self.forces:g} meV/A"
        if reaction and last.round > 1 and converged(last, rounds[-2]):
            return (
                f"the barrier is within {defaults.BARRIER:g} eV and the saddle changes by less "
                f"than {defaults.SADDLE:g} A"
            )
        if left < smallest:
            return f"all of {self.labels} labels are used"
        longest = max(r.seconds for r in rounds)
        # The final training and test take about as long as a round.
        if self.hours is not None and seconds + 2 * longest > self.hours * 3600.0:
            return f"another round would take longer than {self.hours:g} h"
        return ""

    def expected_end(self, rounds: Sequence[Round], seconds: float) -> str:
        """When the budget is used at the present rate, such as ``until 14:32 at most``."""
        done = sum(r.fresh for r in rounds)
        if not done:
            return ""
        rate = sum(r.seconds for r in rounds) / done
        left = max(0, self.labels - done) * rate
        if self.hours is not None:
            left = min(left, self.hours * 3600.0 - seconds)
        at = time.localtime(time.time() + max(0.0, left))
        return time.strftime("until %H:%M at most", at)


def converged(last: Round, before: Round) -> bool:
    """Whether the barrier is right on the last surface, and the path is that of the one before."""
    return (
        abs(last.barrier_error) < defaults.BARRIER
        and abs(last.barrier - before.barrier) < defaults.BARRIER
        and last.saddle_change < defaults.SADDLE
    )
