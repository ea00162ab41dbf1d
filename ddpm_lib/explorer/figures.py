"""The still pictures that stand in for the explorers where no script runs."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ddpm_lib.images import to_uint8
from ddpm_lib.schedules import NoiseSchedule

_BLUE, _ORANGE, _GREY = "#0067a8", "#b84a00", "#5a6675"


def schedule_figure(schedule: NoiseSchedule, picture: np.ndarray, t: int) -> bytes:
    """Draw the schedule's four curves, step `t` in them, and the picture at six steps.

    Args:
        schedule: the forward process.
        picture: (H, W, 3) uint8.
        t: a step, 1..T.

    Returns:
        A PNG file.
    """
    figure = Figure(figsize=(6.4, 2.6), dpi=150, layout="constrained")
    curves, strip = figure.subfigures(2, 1, height_ratios=(1.7, 1))
    steps = np.arange(1, schedule.num_steps + 1)
    tables = {
        r"$\beta_t$": schedule.betas,
        r"$\bar{\alpha}_t$": schedule.alpha_bars,
        "SNR": schedule.snr,
        r"$\tilde{\beta}_t$": schedule.posterior_variances,
    }
    for axes, (title, table) in zip(curves.subplots(1, 4), tables.items(), strict=True):
        axes.plot(steps, table, color=_BLUE, linewidth=1.4)
        axes.plot(t, table[t - 1], "o", color=_ORANGE, markersize=4)
        axes.set_title(title, fontsize=8)
        axes.set_yscale("log" if title in ("SNR", r"$\tilde{\beta}_t$") else "linear")
        axes.set_xticks([1, schedule.num_steps])
        axes.tick_params(labelsize=6, colors=_GREY)
        axes.spines[["top", "right"]].set_visible(False)
    x_0 = picture[::2, ::2] / 127.5 - 1.0  # noise does not compress: a quarter of the pixels will do
    noise = np.random.default_rng(0).standard_normal(x_0.shape)
    shown = np.rint(np.linspace(0, schedule.num_steps, 6)).astype(int)
    for axes, step in zip(strip.subplots(1, 6), shown, strict=True):
        alpha_bar = schedule.alpha_bars[step - 1] if step else 1.0
        axes.imshow(to_uint8(np.sqrt(alpha_bar) * x_0 + np.sqrt(1.0 - alpha_bar) * noise))
        axes.set_title(f"t = {step}", fontsize=6, color=_GREY, pad=2)
        axes.axis("off")
    return _png(figure)


def _png(figure):
    """Save with a palette: the HTML of a cell stays small."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    small = io.BytesIO()
    Image.open(file).convert("RGB").quantize(40, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
        small, format="PNG", optimize=True
    )
    return small.getvalue()
