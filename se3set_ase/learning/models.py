"""The models of a learning run: which there are, and how they are trained and published."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from se3set_ase.checkpoint.files import describe_data_file
from se3set_ase.checkpoint.metadata import Measurement
from se3set_ase.checkpoint.store import load_metadata
from se3set_ase.evaluate import evaluate
from se3set_ase.label.protocol import Labeller
from se3set_ase.learning import defaults
from se3set_ase.learning.candidates import Choice
from se3set_ase.learning.members import Recipe, fitted_energies, publish, train_member
from se3set_ase.learning.start import Start
from se3set_ase.learning.state import State, read_frames, read_json, write_frames, write_json
from se3set_ase.learning.surfaces import First, without_warnings
from se3set_ase.potential import Potential


@dataclass(frozen=True, kw_only=True)
class Job:
    """What decides the results of a run, except for the budget."""

    start: Start
    labeller: Labeller
    recipe: Recipe
    choice: Choice
    first: First
    initial: Path | None
    committee: int
    per_round: int


class Models:
    """The members after each round.

    Parameters
    ----------
    note : called with the number of the round and with what is being done.
    """

    def __init__(self, job: Job, state: State, note: Callable[[int, str], object]):
        self.job, self.state, self._note = job, state, note

    def labelled(self, number: int) -> list[Atoms]:
        """All labels of the start and of the rounds before this one."""
        places = [self.state.place("start"), *(self.state.round(k) for k in range(number))]
        return [atoms for place in places for atoms in read_frames(place / "labels.xyz")]

    def tested(self, number: int) -> Path | None:
        """The model that was trained before this round; the initial one at first, if it fits."""
        if number:
            return self.members(number - 1, final=False)[0]
        initial, job = self.job.initial, self.job
        if initial is None:
            return None
        metadata = load_metadata(initial)
        return initial if job.start.charge in metadata.charges else None

    def members(self, number: int, *, final: bool) -> list[Path]:
        """Folders of the members after a round, or after the final training that follows it."""
        kind = "final" if final else "round"
        return [
            self.state.models / f"{kind}-{number:02d}-member-{k}" / "model"
            for k in range(self.job.committee)
        ]

    def files(self, number: int) -> tuple[Path, Path, int]:
        """Files of all geometries to train on and to validate, and the number of the former."""
        place = self.state.round(number)
        train, validation = place / "train.xyz", place / "validation.xyz"
        frames = self.labelled(number + 1)
        drawn = [atoms for atoms in frames if atoms.info.get("role") == "random"]
        others = [atoms for atoms in frames if atoms.info.get("role") != "random"]
        if not drawn:  # nothing could be drawn at random
            drawn, others = others[-1:], others[:-1]
        for file, some in ((train, others), (validation, drawn)):
            if not file.exists():
                write_frames(file, some)
        return train, validation, len(others)

    def train(self, number: int, *, final: bool) -> None:
        """Train the members that are not trained yet."""
        job = self.job
        train, validation, available = self.files(number)
        energies = self.state.folder / "atomic_energies.json"
        if not energies.exists():
            fitted = fitted_energies(job.recipe, train, job.initial, self.state.models)
            write_json(energies, {str(z): energy for z, energy in fitted.items()})
        atomic = {int(z): float(e) for z, e in read_json(energies).items()}
        if final:
            initial: list[Path | None] = list(self.members(number, final=False))
        else:
            initial = list(self.members(number - 1, final=False)) if number else self.initial()
        for member, folder in enumerate(self.members(number, final=final)):
            self._note(number, f"training model {member + 1} of {job.committee}")
            train_member(
                job.recipe,
                train,
                validation,
                self.state.models,
                name=folder.parent.name,
                member=member,
                available=available,
                longer=defaults.FINAL if final else 1,
                initial=initial[member],
                atomic_energies=atomic,
            )

    def initial(self) -> list[Path | None]:
        """Initial models of the members: those of a committee, where the initial model has one."""
        initial, n = self.job.initial, self.job.committee
        if initial is None:
            return [None] * n
        others = [initial / f"member-{k}" for k in range(1, n)]
        return [initial, *(other if other.is_dir() else initial for other in others)]

    def publish(
        self, number: int, *, final: bool, tested: tuple[Path, dict[str, Any]] | None = None
    ) -> None:
        """Write the members to the output as one model.

        Parameters
        ----------
        tested : file of test geometries, and the errors there; the card has those on the geometries
            that selected the best weights otherwise.
        """
        members = self.members(number, final=final)
        train, validation, _ = self.files(number)
        frames = read_frames(validation)
        file, role = validation, "validation"
        if tested is None:
            errors = errors_of(Potential(members[0]), frames)
        else:
            (file, errors), role = tested, "test"
        data = describe_data_file(file, n_frames=errors["n_frames"], role=role)
        values = {k: v for k, v in errors.items() if k in Measurement.__dataclass_fields__}
        output = self.state.output
        measured = [Measurement(data=data, **values)]
        publish(members, output, output.name, read_frames(train), frames, measured)


def errors_of(potential: Potential, frames: Sequence[Atoms]) -> dict[str, Any]:
    """Errors of a model on labelled geometries."""
    with without_warnings():
        found = evaluate(potential, frames, other_level="compare", uncertainty=False)
    if not found["complete"]:
        raise KeyboardInterrupt
    return found
