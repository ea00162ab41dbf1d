"""Explorers of schedules, reverse process, samplers, costs, films, and networks that run and learn, in the book."""

from ddpm_lib.explorer.film import Film
from ddpm_lib.explorer.mixture import TARGETS
from ddpm_lib.explorer.models import model_script
from ddpm_lib.explorer.numbers import prior_kl
from ddpm_lib.explorer.script import SCRIPT
from ddpm_lib.explorer.widgets import (
    CostExplorer,
    Denoiser,
    ReverseExplorer,
    SamplersExplorer,
    ScheduleExplorer,
    TrainingExplorer,
)

__all__ = [
    "SCRIPT",
    "TARGETS",
    "CostExplorer",
    "Denoiser",
    "Film",
    "ReverseExplorer",
    "SamplersExplorer",
    "ScheduleExplorer",
    "TrainingExplorer",
    "model_script",
    "prior_kl",
]
