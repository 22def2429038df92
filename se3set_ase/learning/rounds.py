"""The loop: sample, label, test the fresh geometries, train; and the final test."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from ase import Atoms

from se3set_ase.io.progress import Progress
from se3set_ase.label.run import label
from se3set_ase.learning import defaults
from se3set_ase.learning.budget import Budget
from se3set_ase.learning.candidates import choose, choose_test
from se3set_ase.learning.models import Job, Models, errors_of
from se3set_ase.learning.report import Learned, Round, learning_curve, write_table
from se3set_ase.learning.state import (
    CURVE,
    PATH,
    ROW,
    TABLE,
    TEST,
    State,
    read_frames,
    read_json,
    write_frames,
    write_json,
)
from se3set_ase.learning.surfaces import first_surface, model_surface
from se3set_ase.potential import Potential
from se3set_ase.train.state import STATE_FILE


class Rounds:
    """A run, which continues where the files in its folder end.

    Parameters
    ----------
    executor : makes labels.
    progress : counts labels; its note says what is being done.
    on_round : called with the finished rounds.
    """

    def __init__(
        self, job: Job, budget: Budget, state: State, executor: Executor, progress: Progress
    ):
        self.job, self.budget, self.state = job, budget, state
        self.executor, self.progress = executor, progress
        self.models = Models(job, state, self._note)
        self.rounds = [Round.from_row(row) for row in state.rows()]
        self._began = time.monotonic() - sum(r.seconds for r in self.rounds)
        self.on_round: Any = None

    def run(self) -> Learned:
        """Learn until the target or the end of the budget, and test the final model.

        Raises
        ------
        ValueError : the method labels no geometry.
        """
        self._label_start()
        while not (reason := self._reason()):
            self.rounds.append(self._round(len(self.rounds)))
            self._show()
        return self.learned(reason, self._final())

    def _reason(self) -> str:
        return self.budget.reason_to_end(
            self.rounds,
            reaction=self.job.start.reaction,
            left=self._left(),
            smallest=min(defaults.SMALLEST_ROUND, self.job.per_round),
            seconds=self._seconds(),
        )

    def learned(self, reason: str, test: dict[str, Any] | None, **others: Any) -> Learned:
        """The result at this point."""
        return Learned(
            folder=self.state.output,
            rounds=tuple(self.rounds),
            test=test,
            n_labels=self._n_labels() + (int(test["n_frames"]) if test else 0),
            reason=reason,
            level_of_theory=self.job.recipe.level_of_theory,
            charge=self.job.start.charge,
            **others,
        )

    # --- One round ------------------------------------------------------------

    def _round(self, number: int) -> Round:
        began = time.monotonic()
        place = self.state.round(number)
        frames, path = self._candidates(number, place)
        labelled, failed = self._label(frames, place)
        fresh = self._test_fresh(number, labelled, place)
        self.models.train(number, final=False)
        found = Round(
            round=number,
            trained_on=self._n_labels() if number else 0,
            fresh=len(labelled),
            failed=failed,
            seconds=time.monotonic() - began,
            **fresh,
            **path,
        )
        self.models.publish(number, final=False)
        write_json(place / ROW, found.row())
        for member in self.models.members(number, final=False):
            (member.parent / STATE_FILE).unlink(missing_ok=True)
        return found

    def _candidates(self, number: int, place: Path) -> tuple[list[Atoms], dict[str, float]]:
        """Geometries to label, and facts about the path of a reaction."""
        self._note(number, "sampling")
        job = self.job
        file, facts = place / "candidates.xyz", place / "path.json"
        if not file.exists():
            surface = first_surface(job.first, job.initial, job.start.charge)
            members: list[Path] = []
            if number:
                members = self.models.members(number - 1, final=False)
                surface = model_surface(members[0], job.start.charge)
            earlier = self.state.round(number - 1) / PATH if number else None
            chosen = choose(
                job.choice,
                job.start,
                surface,
                self.models.labelled(number),
                members,
                n=min(job.per_round, self._left()),
                number=number,
                earlier_path=read_frames(earlier) if earlier else [],
                progress=lambda: self.progress(0),
            )
            write_frames(place / PATH, chosen.path)
            write_json(facts, chosen.facts)
            write_frames(file, chosen.frames)
        return read_frames(file), read_json(facts)

    def _label(self, frames: Sequence[Atoms], place: Path) -> tuple[list[Atoms], int]:
        """Labelled geometries, and the number of those without a label."""
        output = place / "labels.xyz"
        done = label(
            frames, self.job.labeller, output, executor=self.executor, progress=self.progress
        )
        if not done.n_done:
            why = next(iter(done.failures.values()), "no geometry to label")
            raise ValueError(
                f"{self.job.labeller.level_of_theory} gives no label for any geometry: {why}"
            )
        return read_frames(output), len(done.failures)

    def _label_start(self) -> None:
        """Label the given geometry, or both ends of a reaction, before anything else."""
        start = self.job.start
        place = self.state.place("start")
        frames = list(start.frames if start.reaction else start.frames[:1])
        self.progress.note = "the first label"
        _, failed = self._label(frames, place)
        if failed:
            raise ValueError(
                f"{self.job.labeller.level_of_theory} gives no label for an end of the reaction: "
                "see start/labels.xyz.json"
            )

    def _test_fresh(self, number: int, labelled: Sequence[Atoms], place: Path) -> dict[str, float]:
        """Errors of the earlier model on the geometries of this round, before the training."""
        file = place / "fresh.json"
        if not file.exists():
            self._note(number, "testing fresh geometries")
            tested = self.models.tested(number)
            found: dict[str, float | None] = {}
            if tested is not None:
                potential = Potential(tested)
                drawn = [a for a in labelled if a.info["role"] == "random"]
                chosen = [a for a in labelled if a.info["role"] != "random"]
                for name, frames in (("random", drawn), ("chosen", chosen)):
                    errors = errors_of(potential, frames) if frames else {}
                    found[f"{name}_forces"] = errors.get("forces_mae_meV_A")
                    if name == "random" and number:
                        found["random_energy"] = errors.get("energy_mae_meV_per_atom")
            write_json(file, {**found, **self._barrier_error(number, labelled, place)})
        return {k: math.nan if v is None else v for k, v in read_json(file).items()}

    def _barrier_error(
        self, number: int, labelled: Sequence[Atoms], place: Path
    ) -> dict[str, float | None]:
        """Error of the barrier of the tested model, from labels of its reactant and saddle."""
        barrier = read_json(place / "path.json").get("barrier")
        energies = {
            atoms.info["role"]: atoms.get_potential_energy()
            for atoms in labelled
            if atoms.info["role"] in ("reactant", "saddle")
        }
        if not number or barrier is None or len(energies) < 2:
            return {}
        return {"barrier_error": barrier - (energies["saddle"] - energies["reactant"])}

    def _final(self) -> dict[str, Any]:
        """Train longer, sample the test set with the final model, label and measure it."""
        number, job = len(self.rounds) - 1, self.job
        place = self.state.place(f"test-{number:02d}")
        file, result = place / "candidates.xyz", place / ROW
        if result.exists():
            return read_json(result)
        self.models.train(number, final=True)
        members = self.models.members(number, final=True)
        if not file.exists():
            self._note(number, "sampling the final test")
            self.models.publish(number, final=True)
            found = choose_test(
                job.choice,
                job.start,
                model_surface(members[0], job.start.charge),
                self.models.labelled(number + 1),
                n=self.n_test,
                number=number,
                earlier_path=read_frames(self.state.round(number) / PATH),
                progress=lambda: self.progress(0),
            )
            write_frames(place / PATH, found.path)
            write_frames(file, found.frames)
        labelled, _ = self._label(read_frames(file), place)
        write_frames(self.state.output / TEST, labelled)
        if job.start.reaction:
            write_frames(self.state.output / PATH, read_frames(place / PATH))
        errors = errors_of(Potential(members[0]), labelled)
        self.models.publish(number, final=True, tested=(self.state.output / TEST, errors))
        write_json(result, errors)
        self._show(errors)
        return errors

    @property
    def n_test(self) -> int:
        """Number of labels of the final test."""
        return min(self.job.per_round, max(1, self.budget.labels // 4))

    def _seconds(self) -> float:
        """Wall time, that of finished rounds in earlier processes included."""
        return time.monotonic() - self._began

    def _n_labels(self) -> int:
        return len(self.models.labelled(len(self.rounds)))

    def _left(self) -> int:
        """Labels for further rounds."""
        used = self._n_labels() + sum(r.failed for r in self.rounds)
        tests = self.state.folder.glob("test-*/labels.xyz")  # of a run with a smaller budget
        used += sum(len(read_frames(file)) for file in tests)
        return self.budget.labels - self.n_test - used

    def _note(self, number: int, what: str) -> None:
        known = [r.random_forces for r in self.rounds if not math.isnan(r.random_forces)]
        error = f", {known[-1]:.1f} meV/A" if known else ""
        end = self.budget.expected_end(self.rounds, self._seconds())
        self.progress.note = ", ".join(filter(None, [f"round {number}{error}", what, end]))
        self.progress(0)

    def _show(self, test: dict[str, Any] | None = None) -> None:
        write_table(self.rounds, self.state.output / TABLE)
        n_test = int(test["n_frames"]) if test else 0
        figure = learning_curve(self.rounds, test, n_test, target=self.budget.forces)
        figure.savefig(self.state.output / CURVE, dpi=150)
        if self.on_round is not None:
            self.on_round(self.rounds, figure)
