"""Explorers: sliders over the noise schedule and the reverse process, the same in the book and in a notebook."""

from ddpm_lib.explorer.mixture import TARGETS, Mixture
from ddpm_lib.explorer.numbers import prior_kl
from ddpm_lib.explorer.widgets import SCRIPT, ReverseExplorer, ScheduleExplorer

__all__ = ["SCRIPT", "TARGETS", "Mixture", "ReverseExplorer", "ScheduleExplorer", "prior_kl"]
