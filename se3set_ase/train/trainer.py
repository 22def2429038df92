"""The training loop: fit, validate, remember, resume."""

from __future__ import annotations

import csv
import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from tqdm.auto import tqdm

from se3set_ase.hypergraph import HypergraphConfig
from se3set_ase.nn.model import SE3Set, energy_and_forces, network_config, preset_values
from se3set_ase.train.config import RunConfig, TrainingConfig
from se3set_ase.train.data import (
    Batches,
    Frame,
    Normalisation,
    normalise,
    read_atomic_energies,
    split,
)
from se3set_ase.train.log import LOG_FILE, draw_learning_curve, read_log
from se3set_ase.train.state import Progress, load_state, save_state
from se3set_ase.train.step import compile_step, make_step


class Trainer:
    """One training run in ``output/name``; :meth:`run` starts it or goes on with it.

    Parameters
    ----------
    config : of the run. progress : show a progress bar.

    Raises
    ------
    FileNotFoundError, DataError : data that is missing or unfit.
    StateError : the folder holds another run.
    """

    def __init__(self, config: RunConfig, *, progress: bool = True):
        self.config = config
        self._show = progress
        options = config.training
        self.folder = config.output / config.name
        self.folder.mkdir(parents=True, exist_ok=True)
        if options.threads:
            torch.set_num_threads(options.threads)
        self.fabric = Fabric(
            accelerator="auto" if options.device == "auto" else options.device,
            devices=options.devices,
            strategy="ddp" if options.devices > 1 else "auto",
        )
        self.fabric.launch()
        hypergraph = HypergraphConfig.from_dict(config.hypergraph)
        self.train_frames, self.validation_frames = split(config.data, hypergraph, config.seed)
        atomic = config.data.isolated_atoms and read_atomic_energies(
            config.data.isolated_atoms, source=config.data.source
        )
        self.normalisation = normalise(self.train_frames, atomic or None)
        self.model = build_model(config, hypergraph, self.normalisation).to(self.fabric.device)
        self.averaged = AveragedModel(
            self.model, multi_avg_fn=partial(average_weights, options.ema_decay)
        )
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
            amsgrad=True,
        )
        self.best = {k: v.detach().clone() for k, v in self.model.named_parameters()}
        self.progress = Progress(fingerprint=fingerprint(config, self.train_frames))
        restored = load_state(
            self.folder, self.progress.fingerprint, self.model, self.averaged, self.optimizer
        )
        if restored is not None:
            self.progress, self.best = restored
            steps = self.progress.epoch * self._n_steps()
            self.averaged.n_averaged.fill_(steps)

    def run(self) -> SE3Set:
        """Train to the end of the schedule; the model with the best validated weights."""
        options = self.config.training
        batches = self._batches(self.train_frames, options.batch_size)
        step = make_step(self.model, options.forces_weight)
        parameters = list(self.model.parameters())
        if options.compile and self.progress.epoch < options.epochs:
            first = next(batches.epoch(self.config.seed, 0))
            step = compile_step(step, parameters, first, self._number(1.0))
        n_steps = self._n_steps()
        bar = tqdm(
            total=options.epochs,
            initial=self.progress.epoch,
            desc=self.config.name,
            unit="epoch",
            disable=not self._show or self.fabric.global_rank > 0,
        )
        while self.progress.epoch < options.epochs and not self._out_of_patience():
            started = time.perf_counter()
            sums = np.zeros(2)
            for index, batch in enumerate(
                batches.epoch(
                    self.config.seed,
                    self.progress.epoch,
                    self.fabric.global_rank,
                    self.fabric.world_size,
                )
            ):
                done = self.progress.epoch + index / n_steps
                rate = learning_rate(options, done, self.progress.epoch * n_steps + index)
                for group in self.optimizer.param_groups:
                    group["lr"] = rate
                result = step(parameters, batch, self._number(energy_weight(options, done)))
                for parameter, gradient in zip(parameters, result.gradients, strict=True):
                    parameter.grad = self.fabric.all_reduce(gradient, reduce_op="mean")
                torch.nn.utils.clip_grad_norm_(parameters, options.clip_norm)
                self.optimizer.step()
                self.averaged.update_parameters(self.model)
                sums += [float(result.energy_squared), float(result.forces_squared)]
            if not np.isfinite(sums).all():
                raise FloatingPointError(
                    f"training diverged in epoch {self.progress.epoch}: expected a finite loss, "
                    "got NaN; lower learning_rate"
                )
            self.progress = replace(
                self.progress,
                epoch=self.progress.epoch + 1,
                seconds=self.progress.seconds + time.perf_counter() - started,
            )
            bar.update()
            end = self.progress.epoch == options.epochs
            if self.progress.epoch % options.validate_every == 0 or end:
                bar.set_postfix_str(self._validate(np.sqrt(sums / n_steps) * 1e3))
        bar.close()
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(self.best[name])
        return self.model

    def _validate(self, train_error: np.ndarray) -> str:
        """Measure the averaged weights, log, remember the best and save the state."""
        energy, forces = errors(self._average(), self._batches(self.validation_frames, 25))
        weight = self.config.training.energy_weight[1]
        n_atoms = float(np.mean([len(f.numbers) for f in self.validation_frames]))
        score = weight * energy**2 / n_atoms + self.config.training.forces_weight * forces**2
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
                "train_energy_rmse_meV": train_error[0],
                "train_forces_rmse_meV_A": train_error[1],
                "validation_energy_rmse_meV": energy * 1e3,
                "validation_forces_rmse_meV_A": forces * 1e3,
                "best": int(better),
            }
            # Rows past the resumed epoch are of the interrupted attempt: they are redone.
            rows = [r for r in read_log(self.folder) if int(r["epoch"]) < self.progress.epoch]
            with (self.folder / LOG_FILE).open("w", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(row))
                writer.writeheader()
                writer.writerows([*rows, row])
            draw_learning_curve(self.folder)
            save_state(
                self.folder, self.progress, self.model, self.averaged, self.best, self.optimizer
            )
        return f"E {energy * 1e3:.2f} meV, F {forces * 1e3:.2f} meV/A"

    def _batches(self, frames: Sequence[Frame], batch_size: int) -> Batches:
        return Batches(
            frames,
            self.model.species_of,
            self.model.hypergraph,
            batch_size=batch_size,
            dtype=self.model.dtype,
            device=self.model.device,
        )

    def _n_steps(self) -> int:
        """Steps of an epoch."""
        size = min(self.config.training.batch_size, len(self.train_frames))
        return len(self.train_frames) // size // self.fabric.world_size

    def _average(self) -> SE3Set:
        average = self.averaged.module
        assert isinstance(average, SE3Set)
        return average

    def _number(self, value: float) -> Tensor:
        return torch.tensor(value, dtype=torch.float64, device=self.model.device)

    def _out_of_patience(self) -> bool:
        patience = self.config.training.patience
        return patience is not None and self.progress.since_best >= patience


def build_model(
    config: RunConfig, hypergraph: HypergraphConfig, normalisation: Normalisation
) -> SE3Set:
    """The model of a run with its initial weights, which depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return SE3Set(
            elements=normalisation.elements,
            hypergraph=hypergraph,
            network=network_config(preset_values(config.network)),
            atomic_energies=normalisation.atomic_energies,
            shifts=normalisation.shifts,
            scale=normalisation.scale,
        )


def average_weights(
    decay: float, averages: list[Tensor], weights: list[Tensor], n_averaged: Tensor
) -> None:
    """Exponential moving average, with a shorter memory over the first steps."""
    n = float(n_averaged)
    torch._foreach_lerp_(averages, weights, 1.0 - min(decay, (1.0 + n) / (10.0 + n)))


def learning_rate(options: TrainingConfig, epoch: float, step: int) -> float:
    """Linear warm-up in steps, then a half cosine over the epochs."""
    low, high = options.final_learning_rate, options.learning_rate
    rate = low + 0.5 * (high - low) * (1.0 + math.cos(math.pi * epoch / options.epochs))
    return rate * min(1.0, (step + 1) / max(options.warmup_steps, 1))


def energy_weight(options: TrainingConfig, epoch: float) -> float:
    """Geometric from the first to the last value over the epochs."""
    first, last = options.energy_weight
    return first * (last / first) ** (epoch / options.epochs)


def errors(model: SE3Set, batches: Batches) -> tuple[float, float]:
    """Root mean square errors of energies (eV) and force components (eV/Angstrom)."""
    energy, forces, n_forces = [], 0.0, 0
    for batch in batches.epoch(0, 0):
        e, f, _ = energy_and_forces(model, batch.positions, batch.graph)
        energy.append((e - batch.energy).detach().cpu().numpy())
        forces += float(((f - batch.forces) ** 2).sum())
        n_forces += 3 * int(batch.graph.n_atoms.sum())
    return float(np.sqrt(np.mean(np.concatenate(energy) ** 2))), math.sqrt(forces / n_forces)


def fingerprint(config: RunConfig, frames: Sequence[Frame]) -> str:
    """Changes with whatever changes the result: settings, seed, data."""
    digest = hashlib.sha256()
    settings = config.model_dump(mode="json", include={"seed", "network", "hypergraph", "training"})
    settings["training"].pop("device")
    settings["training"].pop("threads")
    digest.update(repr(sorted(settings.items())).encode())
    for frame in frames:
        digest.update(frame.numbers.tobytes() + frame.positions.tobytes())
        digest.update(np.float64(frame.energy).tobytes() + frame.forces.tobytes())
    return digest.hexdigest()
