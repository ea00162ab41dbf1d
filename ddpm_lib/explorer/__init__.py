"""Explorers: sliders over the noise schedule, the reverse process and films, the same in the book and in a notebook."""

from ddpm_lib.explorer.film import Film
from ddpm_lib.explorer.mixture import TARGETS
from ddpm_lib.explorer.numbers import prior_kl
from ddpm_lib.explorer.script import SCRIPT
from ddpm_lib.explorer.widgets import ReverseExplorer, ScheduleExplorer

__all__ = ["SCRIPT", "TARGETS", "Film", "ReverseExplorer", "ScheduleExplorer", "prior_kl"]
