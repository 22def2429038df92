"""Schedules of the learning rate, the energy weight and the moving average."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from se3set_ase.train.config import TrainingConfig


def learning_rate(options: TrainingConfig, epoch: float, step: int) -> float:
    """Linear warm-up in steps, then a half cosine over the epochs."""
    low, high = options.final_learning_rate, options.learning_rate
    rate = low + 0.5 * (high - low) * (1.0 + math.cos(math.pi * epoch / options.epochs))
    return rate * min(1.0, (step + 1) / max(options.warmup_steps, 1))


def energy_weight(options: TrainingConfig, epoch: float) -> float:
    """Geometric interpolation between the first and last value; zero if both are zero."""
    first, last = options.energy_weight
    return first * (last / first) ** (epoch / options.epochs) if first else 0.0


def average_weights(
    decay: float, averages: list[Tensor], weights: list[Tensor], n_averaged: Tensor
) -> None:
    """Exponential moving average, with a shorter memory over the first steps."""
    n = float(n_averaged)
    torch._foreach_lerp_(averages, weights, 1.0 - min(decay, (1.0 + n) / (10.0 + n)))
