"""The still pictures that stand in for the explorers where no script runs."""

from __future__ import annotations

import io
import itertools

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ddpm_lib.exact import GaussianMixture
from ddpm_lib.explorer.mixture import reverse_step, solver_step
from ddpm_lib.images import to_uint8
from ddpm_lib.schedules import NoiseSchedule, timestep_subsequence

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
    x_0 = np.asarray(Image.fromarray(picture).reduce(2)) / 127.5 - 1.0  # noise does not compress: keep it small
    noise = np.random.default_rng(0).standard_normal(x_0.shape)
    shown = np.rint(np.linspace(0, schedule.num_steps, 6)).astype(int)
    for axes, step in zip(strip.subplots(1, 6), shown, strict=True):
        alpha_bar = schedule.alpha_bars[step - 1] if step else 1.0
        axes.imshow(to_uint8(np.sqrt(alpha_bar) * x_0 + np.sqrt(1.0 - alpha_bar) * noise))
        axes.set_title(f"t = {step}", fontsize=6, color=_GREY, pad=2)
        axes.axis("off")
    return _png(figure)


def reverse_figure(
    mixture: GaussianMixture, schedule: NoiseSchedule, num_steps: int, sampler: str, variance: str, eta: float
) -> bytes:
    """Draw a sample on its way back from noise, at five steps, against the exact density.

    Args:
        mixture: the data.
        schedule: the forward process.
        num_steps: how many of its steps are visited.
        sampler: see `reverse_step`, as are `variance` and `eta`.
        variance: ddpm only.
        eta: ddim only.

    Returns:
        A PNG file.
    """
    steps = np.append(timestep_subsequence(schedule.num_steps, num_steps) + 1, 0)  # the paper's t
    alpha_bars = np.append(1.0, schedule.alpha_bars)
    generator = np.random.default_rng(0)
    states = [generator.standard_normal((1000, mixture.means.shape[1]))]
    for t, t_next in itertools.pairwise(steps):
        x_0 = mixture.expected_x_0(states[-1], alpha_bars[t])
        mean, sigma = reverse_step(states[-1], x_0, alpha_bars[t], alpha_bars[t_next], sampler, variance, eta)
        states.append(mean + sigma * generator.standard_normal(mean.shape))
    figure = Figure(figsize=(6.4, 1.6), dpi=150, layout="constrained")
    line = np.linspace(-3.0, 3.0, 301)
    shown = np.rint(np.linspace(0, num_steps, 5)).astype(int)
    for axes, number in zip(figure.subplots(1, 5), shown, strict=True):
        points, alpha_bar = states[number], alpha_bars[steps[number]]
        if points.shape[1] == 1:
            axes.hist(points[:, 0], bins=np.linspace(-3, 3, 41), density=True, color=_ORANGE, alpha=0.6)
            axes.plot(line, mixture.density(line[:, None], alpha_bar), color=_BLUE, linewidth=1.2)
        else:
            axes.scatter(*points[:400].T, s=2, color=_ORANGE, linewidths=0)
            axes.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xticks=[])
        axes.set_title(f"t = {steps[number]}", fontsize=7)
        axes.set_yticks([])
        axes.tick_params(labelsize=6, colors=_GREY)
    return _png(figure)


SAMPLERS = {  # the titles of the panels, and what `reverse_step` is told
    r"DDPM, $\sigma^2 = \beta$": {"sampler": "ddpm", "variance": "beta"},
    r"DDPM, $\sigma^2 = \tilde\beta$": {"sampler": "ddpm", "variance": "posterior"},
    r"DDIM, $\eta = 0$": {"sampler": "ddim"},
    "DPM-Solver++": None,
}


def samplers_figure(mixture: GaussianMixture, schedule: NoiseSchedule, num_steps: int, spacing: str) -> bytes:
    """Draw where four samplers end, from the same noise, on the exact density.

    Args:
        mixture: the data, in two dimensions.
        schedule: the forward process.
        num_steps: how many of its steps are visited.
        spacing: see `timestep_subsequence`.

    Returns:
        A PNG file.
    """
    steps = np.append(timestep_subsequence(schedule.num_steps, num_steps, spacing) + 1, 0)  # the paper's t
    alpha_bars = np.append(1.0, schedule.alpha_bars)
    line = (np.arange(52) + 0.5) / 10 - 2.6
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    density = np.sqrt(mixture.density(grid)).reshape(52, 52)
    figure = Figure(figsize=(6.4, 1.9), dpi=150, layout="constrained")
    for axes, (title, options) in zip(figure.subplots(1, 4), SAMPLERS.items(), strict=True):
        generator, before = np.random.default_rng(0), None
        x = generator.standard_normal((1000, 2))
        for t, t_next in itertools.pairwise(steps):
            x_0, walk = mixture.expected_x_0(x, alpha_bars[t]), (alpha_bars[t], alpha_bars[t_next])
            if options is None:
                x = solver_step(x, x_0, *walk, before)
            else:
                mean, sigma = reverse_step(x, x_0, *walk, **options)
                x = mean + sigma * generator.standard_normal(mean.shape)
            before = walk[0], x_0
        axes.imshow(density, cmap="Blues", vmax=1.6 * density.max(), extent=(-2.6, 2.6, -2.6, 2.6), origin="lower")
        axes.scatter(*x[:500].T, s=1.5, color=_ORANGE, linewidths=0)
        axes.set(xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), xticks=[], yticks=[])
        axes.set_title(title, fontsize=7)
    return _png(figure)


def denoiser_figure(name: str, seed: int) -> bytes:
    """Draw six moments of DDIM in 20 steps: the image so far, and below it the network's guess of the clean one.

    Args:
        name: of a model that comes with the project.
        seed: of the image.

    Returns:
        A PNG file.
    """
    # Late: these import Keras, which the other explorers do not need.
    from ddpm_lib.checkpoints import load
    from ddpm_lib.sampling import ddim_sample, noise_per_image

    model, moments = load(name), []
    x_T = noise_per_image([seed], model.image_shape)(-1)
    ddim_sample(model.predict_noise, model.schedule, x_T, num_steps=20, callback=moments.append)
    figure = Figure(figsize=(6.4, 2.4), dpi=150, layout="constrained")
    columns = figure.subplots(2, 6).T
    for axes, number in zip(columns, (0, 4, 8, 12, 16, 19), strict=True):
        step = moments[number]
        for one, image in zip(axes, (step.x, step.x_0_pred), strict=True):
            one.imshow(to_uint8(np.asarray(image)[0]), cmap="gray", vmin=0, vmax=255)
            one.set(xticks=[], yticks=[])
            one.spines[:].set_visible(False)
        axes[0].set_title(f"t = {step.t_next + 1}", fontsize=7)
    columns[0, 0].set_ylabel("image", fontsize=7)
    columns[0, 1].set_ylabel("guess", fontsize=7)
    return _png(figure)


def training_figure(points: np.ndarray, schedule: NoiseSchedule) -> bytes:
    """Draw points, and the answers of the exact denoiser for them at three steps as arrows.

    Args:
        points: (N, 2), within -2.6 and 2.6.
        schedule: the forward process.

    Returns:
        A PNG file.
    """
    exact = GaussianMixture(points, np.ones(len(points)), 0.0)
    line = (np.arange(13) - 6) * 0.4
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    figure = Figure(figsize=(6.4, 1.8), dpi=150, layout="constrained")
    for axes, t in zip(figure.subplots(1, 4), (None, 50, 200, 600), strict=True):
        axes.scatter(*points.T, s=3, color=_BLUE, linewidths=0)
        if t:
            toward = exact.expected_x_0(grid, schedule.alpha_bars[t - 1]) - grid
            far = np.linalg.norm(toward, axis=1, keepdims=True)
            toward *= np.minimum(0.4, 0.36 / np.maximum(far, 1e-9))
            axes.quiver(*grid.T, *toward.T, angles="xy", scale_units="xy", scale=1, width=0.006, color=_GREY)
        axes.set(xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), aspect="equal", xticks=[], yticks=[])
        axes.set_title(f"exact, t = {t}" if t else "points", fontsize=7)
    return _png(figure)


def roofline_figure(layers: list[tuple[str, float, float]], peak: float, bandwidth: float) -> bytes:
    """Draw the layers of a network under the roof of a device; the area of a dot is its share of the time.

    Args:
        layers: (name, FLOPs, bytes moved) of each.
        peak: FLOPs a second.
        bandwidth: bytes a second.

    Returns:
        A PNG file.
    """
    figure = Figure(figsize=(6.4, 2.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    line = np.logspace(-1, 3, 200)
    axes.loglog(line, np.minimum(peak, line * bandwidth), color=_BLUE)
    seconds = [max(flops / peak, moved / bandwidth) for _, flops, moved in layers]
    for (name, flops, moved), time in zip(layers, seconds, strict=True):
        if flops:
            intensity, colour = flops / moved, _ORANGE if "attention" in name else _BLUE
            axes.scatter(
                intensity, min(peak, intensity * bandwidth), s=1500 * time / sum(seconds), color=colour, alpha=0.7
            )
    axes.set_xlabel("FLOPs per byte", fontsize=7)
    axes.set_ylabel("FLOP/s within reach", fontsize=7)
    axes.tick_params(labelsize=6, colors=_GREY)
    axes.spines[["top", "right"]].set_visible(False)
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
