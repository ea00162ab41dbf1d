"""Explorers: sliders over the schedule, the reverse process, samplers and films, the same in book and notebook."""

from ddpm_lib.explorer.film import Film
from ddpm_lib.explorer.mixture import TARGETS
from ddpm_lib.explorer.numbers import prior_kl
from ddpm_lib.explorer.script import SCRIPT
from ddpm_lib.explorer.widgets import ReverseExplorer, SamplersExplorer, ScheduleExplorer

__all__ = ["SCRIPT", "TARGETS", "Film", "ReverseExplorer", "SamplersExplorer", "ScheduleExplorer", "prior_kl"]
