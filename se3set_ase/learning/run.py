"""Learn a potential for one molecule or reaction."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, cast

from se3set_ase.io.progress import progress_bar
from se3set_ase.jobs.executor import task_executor
from se3set_ase.label.protocol import Labeller
from se3set_ase.learning import defaults
from se3set_ase.learning.candidates import By
from se3set_ase.learning.prepare import Prepared, prepare
from se3set_ase.learning.report import Learned, Round, png, table
from se3set_ase.learning.rounds import Rounds
from se3set_ase.learning.start import Given
from se3set_ase.learning.surfaces import First
from se3set_ase.visualize.live import notebook_display


def learn(
    start: Given,
    *more: Given,
    method: str | Labeller,
    output: str | Path,
    charge: int | None = None,
    options: Mapping[str, Any] | None = None,
    temperatures_K: Sequence[float] = defaults.TEMPERATURES_K,
    forces: float = defaults.FORCES,
    labels: int = defaults.LABELS,
    hours: float | None = None,
    committee: int = defaults.COMMITTEE,
    choice: By | None = None,
    initial: str | Path | None = None,
    baseline: str | None = None,
    torsions: bool = True,
    dimers: bool = False,
    reaction: bool | None = None,
    per_round: int | None = None,
    training_frames: int = defaults.TRAINING_FRAMES,
    first: First | None = None,
    seed: int = 0,
    conformer_seed: int = 0,
    processes: int = 1,
    scheduler: str | None = None,
    executor: Executor | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Learned:
    """Learn a potential for one molecule or reaction; the same call resumes a stopped run.

    Each round samples geometries on the present model, labels those about which a committee of
    models is least sure, tests the models on them, and then trains the models on all labels. It
    ends when the errors of the forces on fresh geometries are small enough, or the budget is
    used. The final model is trained longer, and tested on geometries that it samples itself. A
    notebook shows the learning curve as it grows. Ctrl-C keeps the model of the last finished
    round.

    Parameters
    ----------
    start, *more : a molecule: a file, SMILES or atoms; or reactant and product, in two files or in
        one, with the same atoms in the same order; or a trajectory of more than two geometries
        of one molecule.
    method : makes the labels, see :func:`se3set_ase.label.make_labeller`; or a labeller.
    output : folder of the model, which is created.
    charge : e; by default what the geometries declare, else 0.
    options : of the method.
    temperatures_K : of the dynamics that are sampled.
    forces : target, mean absolute error of forces on fresh geometries, meV/Angstrom.
    labels : largest number of labels, those of the final test (an eighth) included.
    hours : longest wall time; by default there is no limit.
    committee : number of models.
    choice : label the geometries about which the ``"committee"`` is least sure, those that are most
        ``"different"``, or any (``"random"``). The default is the committee, if there are several
        models.
    initial : model whose weights are the initial ones, by name or path; ``"none"`` for random ones.
        By default the bundled model of the same level of theory, else ``organic``.
    baseline : method that the model corrects, such as ``"GFN2-xTB"``; the default is none.
    torsions : begin half of the dynamics after rotations about single bonds.
    dimers : also learn contacts of two molecules.
    reaction : whether two geometries are reactant and product; by default they are.
    per_round : number of labels in a round; by default an eighth of ``labels``.
    training_frames : number of geometries that the training of a round processes, all epochs
        together; the final training processes three times as many.
    first : what moves the atoms before a model is trained: ``"GFN2-xTB"``, ``"model"`` (the initial
        one) or ``"rattle"`` (random displacements). By default the first of them that is possible.
    seed : of all random numbers; the same seed gives the same labels.
    conformer_seed : of a conformer from SMILES.
    processes, scheduler : make labels with several processes, or on a dask cluster.
    executor : makes labels instead.
    overwrite : start again, replacing an earlier run in the same folder.
    progress : show a progress bar, and the learning curve in a notebook.

    Raises
    ------
    FileNotFoundError : neither a file nor SMILES, no such initial model, or no folder for the
        output.
    FileExistsError : the output is something else, or another run is writing to it.
    ValueError : the molecule, the method or an option cannot be used, or the output belongs to a
        run with other settings; the text says which.
    OSError : no answer from the scheduler.
    KeyboardInterrupt : Ctrl-C before the first round was finished.
    """
    prepared = prepare(
        [start, *more],
        method=method,
        output=output,
        charge=charge,
        options=options,
        temperatures_K=temperatures_K,
        forces=forces,
        labels=labels,
        hours=hours,
        committee=committee,
        choice=choice,
        initial=initial,
        baseline=baseline,
        torsions=torsions,
        dimers=dimers,
        reaction=reaction,
        per_round=per_round,
        training_frames=training_frames,
        first=first,
        seed=seed,
        conformer_seed=conformer_seed,
        overwrite=overwrite,
    )
    workers = nullcontext(executor) if executor is not None else task_executor(processes, scheduler)
    with cast(Any, workers) as ready:
        return run(prepared, ready, overwrite=overwrite, progress=progress)


def run(
    prepared: Prepared, executor: Executor, *, overwrite: bool = False, progress: bool = True
) -> Learned:
    """Run what :func:`prepare` has checked, see :func:`learn`."""
    state = prepared.state
    with state.locked():
        state.check(prepared.settings, overwrite=overwrite)
        state.begin(prepared.settings, overwrite=overwrite)
        handle = notebook_display() if progress else None
        done = sum(row["fresh"] + row["failed"] for row in state.rows())
        with progress_bar(
            "learn", prepared.budget.labels, "label", done=done, show=progress
        ) as bar:
            rounds = Rounds(prepared.job, prepared.budget, state, executor, bar)
            if handle is not None:
                rounds.on_round = partial(_show, handle)
            try:
                return rounds.run()
            except KeyboardInterrupt:
                if not state.usable:
                    raise
                return rounds.learned("interrupted", None, interrupted=True)


def _show(handle: Any, rounds: Sequence[Round], figure: Any) -> None:
    """Update the learning curve in a notebook."""
    picture = base64.b64encode(png(figure)).decode()
    handle.update({"image/png": picture, "text/plain": table(rounds)}, raw=True)
