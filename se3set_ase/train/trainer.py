"""The training loop: optimise, validate, save, resume."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed
from torch.optim.swa_utils import AveragedModel

from se3set_ase.checkpoint.registry import resolve_model
from se3set_ase.checkpoint.store import load_checkpoint
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.io.progress import progress_bar
from se3set_ase.nn.model import SE3Set
from se3set_ase.train.baseline_labels import CachedBaseline
from se3set_ase.train.batches import Batches
from se3set_ase.train.build import ModelBuilder, build_model
from se3set_ase.train.clip import clip_unusual
from se3set_ase.train.config import RunConfig, TrainingConfig
from se3set_ase.train.data import Frame, TrainingData, read_training_data
from se3set_ase.train.errors import energy_errors, errors
from se3set_ase.train.fingerprint import conditions, fingerprint
from se3set_ase.train.log import draw_learning_curve, write_row
from se3set_ase.train.muon import MuonAdamW
from se3set_ase.train.normalisation import fit_elements, normalise
from se3set_ase.train.schedule import average_weights, energy_weight, learning_rate
from se3set_ase.train.state import Progress, load_state, save_state
from se3set_ase.train.step import LossWeights, Step, StepResult, compile_step, make_step

_LOGGER = logging.getLogger(__name__)

#: Number of training frames to which shifts are fitted, for validations and at the end.
SHIFT_FRAMES, LAST_SHIFT_FRAMES = 256, 4096


class Trainer:
    """One training run in ``output/name``; :meth:`run` starts or resumes it.

    Parameters
    ----------
    config : configuration of the run.
    progress : show a progress bar.
    fabric : launched processes that share each batch; only this process by default.
    data : frames and atomic energies; those of ``config.data`` by default.
    build : function that builds the model.
    draw : draw the learning curve at each validation.

    Raises
    ------
    FileNotFoundError, DataError : data are missing or invalid.
    StateError : the folder belongs to another run.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        progress: bool = True,
        fabric: Fabric | None = None,
        data: TrainingData | None = None,
        build: ModelBuilder = build_model,
        draw: bool = True,
    ):
        self.config = config
        self._show, self._draw = progress, draw
        options = config.training
        self.fabric = fabric or make_fabric(options.model_copy(update={"devices": 1}))
        if self.fabric.world_size != options.devices:
            raise ValueError(
                f"expected a fabric of {options.devices} launched processes, "
                f"got {self.fabric.world_size}; train() launches them"
            )
        initial = config.initial
        self.initial = load_checkpoint(resolve_model(initial)) if initial else None
        hypergraph = HypergraphConfig.from_dict(config.hypergraph)
        if self.initial is not None:
            hypergraph = self.initial[0].hypergraph
        data = data or self._read_data(hypergraph)
        self.baseline = data.baseline
        self.train_frames, self.validation_frames = list(data.train), list(data.validation)
        self.normalisation = normalise(self.train_frames, data.atomic_energies)
        self.model = build(config, hypergraph, self.normalisation, self.initial).to(
            self.fabric.device
        )
        self.averaged = AveragedModel(
            self.model, multi_avg_fn=partial(average_weights, options.ema_decay)
        )
        self.optimizer = MuonAdamW(
            self.model,
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
            amsgrad=True,
        )
        self.batches = self._batches(self.train_frames, options.batch_size, training=True)
        self.best = {k: v.detach().clone() for k, v in self.model.named_parameters()}
        self.folder = config.output / config.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.progress = Progress(
            fingerprint=fingerprint(config, self.train_frames, self.initial and self.model)
        )
        self._conditions = conditions(self.normalisation, self.validation_frames)
        restored = load_state(
            self.folder,
            self.progress.fingerprint,
            self.model,
            self.averaged,
            self.optimizer,
            self._conditions,
        )
        if restored is not None:
            self.progress, self.best = restored
            self.averaged.n_averaged.fill_(self.progress.epoch * len(self.batches))

    def _read_data(self, hypergraph: HypergraphConfig) -> TrainingData:
        data = read_training_data(self.config.data, hypergraph, self.config.seed)
        if (method := self.config.baseline_method) is None:
            return data
        shown = self._show and self.fabric.global_rank == 0
        return CachedBaseline(method, self.config.output / "baseline", progress=shown).differences(
            data
        )

    def run(self) -> SE3Set:
        """Train to the end of the schedule; return the model with the best validated weights."""
        options = self.config.training
        threads = torch.get_num_threads()
        torch.set_num_threads(options.threads or threads)
        try:
            with progress_bar(
                self.config.name,
                options.epochs,
                "epoch",
                done=self.progress.epoch,
                show=self._show and self.fabric.global_rank == 0,
            ) as bar:
                if not self._done():
                    step = self._make_step()
                while not self._done():
                    train_error = self._epoch(step)
                    end = self.progress.epoch == options.epochs
                    if self.progress.epoch % options.validate_every == 0 or end:
                        bar.note = self._validate(train_error)
                    bar(1)
        finally:
            torch.set_num_threads(threads)
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(self.best[name])
        self._fit_shifts(self.model, LAST_SHIFT_FRAMES)
        return self.model

    def _make_step(self) -> Step:
        options = self.config.training
        step = make_step(
            self.model,
            options.forces_weight,
            options.loss,
            dipole_weight=options.dipole_weight,
            hold_back=options.excess_weight > 0,
        )
        if not options.compile:
            return step
        batch = next(self.batches.epoch(0, self.fabric.global_rank))
        if self._show and self.fabric.global_rank == 0:
            # A warning, because nobody sees less by default and minutes follow.
            _LOGGER.warning("compiling the training step, which takes minutes")
        try:
            return compile_step(step, list(self.model.parameters()), batch, self._weights(0.0))
        except BackendCompilerFailed as error:  # usually no C++ compiler
            warnings.warn(
                f"the training step is not compiled, which makes it about three times slower: "
                f"{error}",
                UserWarning,
                stacklevel=2,
            )
            return step

    def _epoch(self, step: Step) -> np.ndarray:
        """Train one epoch; root mean square errors of energies (eV) and forces (eV/A)."""
        options, progress, n_steps = self.config.training, self.progress, len(self.batches)
        parameters = list(self.model.parameters())
        started = time.perf_counter()
        sums, usual = np.zeros(3), progress.gradient
        for index, batch in enumerate(self.batches.epoch(progress.epoch, self.fabric.global_rank)):
            done = progress.epoch + index / n_steps
            rate = learning_rate(options, done, progress.epoch * n_steps + index)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            result = step(parameters, batch, self._weights(done))
            gradients, measured = self._mean_over_processes(result)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            usual = clip_unusual(parameters, usual, options.clip_gradients)
            self.optimizer.step()
            self.averaged.update_parameters(self.model)
            sums += measured
        if not np.isfinite([*sums, usual]).all():
            raise FloatingPointError(
                f"training diverged in epoch {progress.epoch}: expected a finite loss, "
                "got NaN; lower learning_rate"
            )
        self.progress = replace(
            progress,
            epoch=progress.epoch + 1,
            seconds=progress.seconds + time.perf_counter() - started,
            loss=float(sums[0]) / n_steps,
            gradient=usual,
        )
        return np.sqrt(sums[1:] / n_steps)

    def _weights(self, done: float) -> LossWeights:
        """Loss weights after a number of epochs; all processes use the same loss as the unit."""
        options = self.config.training
        values = energy_weight(options, done), options.excess_weight * self.progress.loss
        numbers = torch.tensor(values, dtype=torch.float64, device=self.model.device)
        return LossWeights(*numbers.unbind())

    def _mean_over_processes(self, result: StepResult) -> tuple[list[Tensor], np.ndarray]:
        """Average gradients, loss and squared errors over processes, in one communication."""
        gradients = list(result.gradients)
        measured = torch.stack([result.loss, result.energy_squared, result.forces_squared])
        if self.fabric.world_size > 1:
            flat = torch.cat([g.flatten() for g in gradients])
            mean = self.fabric.all_reduce(torch.cat([measured, flat.double()]), reduce_op="mean")
            assert isinstance(mean, Tensor)
            measured, flat = mean[:3], mean[3:].to(flat.dtype)
            parts = flat.split([g.numel() for g in gradients])
            gradients = [p.view_as(g) for p, g in zip(parts, gradients, strict=True)]
        return gradients, measured.cpu().numpy()

    def _validate(self, train_error: np.ndarray) -> str:
        """Measure the averaged weights, log them, keep the best and save the state."""
        measured = (0.0, 0.0, 0.0)
        if self.fabric.global_rank == 0:
            self._fit_shifts(self._average(), SHIFT_FRAMES)
            measured = errors(self._average(), self._batches(self.validation_frames, 25))
        # Only one process measures, because all must agree on which weights are best.
        energy, forces, dipole = self.fabric.broadcast(measured)
        score = self._score(energy, forces)
        better = score < self.progress.best_score
        if better:
            self.best = {k: v.detach().clone() for k, v in self._average().named_parameters()}
            self.progress = replace(
                self.progress, best_epoch=self.progress.epoch, best_score=score, since_best=0
            )
        else:
            self.progress = replace(self.progress, since_best=self.progress.since_best + 1)
        if self.fabric.global_rank == 0:
            row = {
                "epoch": self.progress.epoch,
                "seconds": round(self.progress.seconds, 1),
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "train_energy_rmse_meV": train_error[0] * 1e3,
                "train_forces_rmse_meV_A": train_error[1] * 1e3,
                "validation_energy_rmse_meV": energy * 1e3,
                "validation_forces_rmse_meV_A": forces * 1e3,
                **({} if math.isnan(dipole) else {"validation_dipole_rmse_e_A": dipole}),
                "best": int(better),
            }
            write_row(self.folder, row)
            if self._draw:
                draw_learning_curve(self.folder)
            save_state(
                self.folder,
                self.progress,
                self.model,
                self.averaged,
                self.best,
                self.optimizer,
                self._conditions,
            )
        found = f"E {energy * 1e3:.2f} meV, F {forces * 1e3:.2f} meV/A"
        return found if math.isnan(dipole) else f"{found}, dipole {dipole:.3f} e A"

    def _score(self, energy: float, forces: float) -> float:
        """The criterion for the best weights: the loss with the final energy weight, or the same of
        root mean squares if the loss is of absolute errors."""
        options = self.config.training
        weight = options.energy_weight[1]
        if options.loss == "l2mae":
            return weight * energy + options.forces_weight * forces
        n_atoms = float(np.mean([len(f.numbers) for f in self.validation_frames]))
        return weight * energy**2 / n_atoms + options.forces_weight * forces**2

    def _fit_shifts(self, model: SE3Set, most: int) -> None:
        """Fit shifts to the remaining energy errors of training frames, by least squares.

        Updates of the weights shift all energies together, and the average over steps keeps part
        of the shift. It would be the largest energy error, and a constant removes it.
        """
        model.set_shifts(self.normalisation.shifts)
        frames = self.train_frames[:: math.ceil(len(self.train_frames) / most)]
        left, counts = energy_errors(model, self._batches(frames, 25))
        change = fit_elements(counts, -left)
        model.set_shifts([s + float(d) for s, d in zip(model.shifts, change, strict=True)])

    def _batches(self, frames: Sequence[Frame], size: int, *, training: bool = False) -> Batches:
        options = self.config.training
        return Batches(
            frames,
            self.model.species_of,
            self.model.hypergraph,
            batch_size=size,
            dtype=self.model.dtype,
            device=self.model.device,
            world=self.fabric.world_size if training else 1,
            seed=self.config.seed,
            epochs=options.epochs if training else 1,
            epoch_frames=options.epoch_frames if training else None,
            pairs=self.model.long_range is not None,
        )

    def _average(self) -> SE3Set:
        average = self.averaged.module
        assert isinstance(average, SE3Set)
        return average

    def _done(self) -> bool:
        options = self.config.training
        impatient = options.patience is not None and self.progress.since_best >= options.patience
        return self.progress.epoch >= options.epochs or impatient


def make_fabric(options: TrainingConfig) -> Fabric:
    """The processes of a run, not launched yet; a single process needs no launch."""
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    # Spawned: Fabric's default runs the script again, which would restart a test suite or
    # notebook instead of a training.
    return Fabric(
        accelerator=device,
        devices=options.devices,
        strategy="ddp_spawn" if options.devices > 1 else "auto",
    )
