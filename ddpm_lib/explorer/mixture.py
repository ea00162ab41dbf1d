"""What the explorers of the way back sample from, and their steps, in float64 NumPy. Points are (N, D)."""

from __future__ import annotations

import numpy as np

from ddpm_lib.exact import GaussianMixture


def reverse_step(x_t, x_0, alpha_bar, alpha_bar_next, sampler="ddpm", variance="beta", eta=0.0):
    """Mean and standard deviation of x_next, one step of `ddpm_lib.sampling` without clipping.

    Args:
        x_t: (N, D) points at alpha_bar.
        x_0: (N, D) clean points as predicted from them.
        alpha_bar: in (0, 1).
        alpha_bar_next: of the step that is reached, above `alpha_bar`; 1 for the clean data, which gets no noise.
        sampler: ddpm (Ho et al., 2020, Eq. 7) or ddim (Song et al., 2021, Eq. 12 and 16).
        variance: of ddpm's noise: beta or posterior.
        eta: of ddim's, 0..1.

    Returns:
        The (N, D) mean, and a number.
    """
    beta = 1.0 - alpha_bar / alpha_bar_next
    posterior = beta * (1.0 - alpha_bar_next) / (1.0 - alpha_bar)
    if sampler == "ddpm":
        weight_x_0 = np.sqrt(alpha_bar_next) * beta / (1.0 - alpha_bar)
        weight_x_t = np.sqrt(1.0 - beta) * (1.0 - alpha_bar_next) / (1.0 - alpha_bar)
        sigma = 0.0 if alpha_bar_next == 1.0 else np.sqrt(beta if variance == "beta" else posterior)
        return weight_x_0 * x_0 + weight_x_t * x_t, sigma
    noise = (x_t - np.sqrt(alpha_bar) * x_0) / np.sqrt(1.0 - alpha_bar)
    sigma = eta * np.sqrt(posterior)
    return np.sqrt(alpha_bar_next) * x_0 + np.sqrt(max(1.0 - alpha_bar_next - sigma**2, 0.0)) * noise, sigma


def solver_step(x_t, x_0, alpha_bar, alpha_bar_next, before=None):
    """x_next, one step of `ddpm_lib.sampling.dpm_solver_pp_sample` without clipping (Lu et al., 2022, Algorithm 2).

    Args:
        x_t: (N, D) points at alpha_bar.
        x_0: (N, D) clean points as predicted from them.
        alpha_bar: in (0, 1).
        alpha_bar_next: of the step that is reached, above `alpha_bar`; 1 for the clean data.
        before: alpha_bar and x_0 of the step before, if there is one.

    Returns:
        (N, D).
    """
    if before and alpha_bar_next < 1.0:
        log_u, log_u_next, log_u_before = (
            np.log(bar / (1.0 - bar)) / 2 for bar in (alpha_bar, alpha_bar_next, before[0])
        )
        x_0 = x_0 + (log_u_next - log_u) / (log_u - log_u_before) / 2 * (x_0 - before[1])
    weight_x_t = np.sqrt((1.0 - alpha_bar_next) / (1.0 - alpha_bar))
    return weight_x_t * (x_t - np.sqrt(alpha_bar) * x_0) + np.sqrt(alpha_bar_next) * x_0


def _moons():
    angles = np.pi * np.arange(12) / 11
    upper = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    lower = np.stack([1.0 - np.cos(angles), 0.5 - np.sin(angles)], axis=1)
    return 1.25 * (np.concatenate([upper, lower]) - (0.5, 0.25))


def _ring():
    angles = np.pi * np.arange(8) / 4
    return 1.4 * np.stack([np.cos(angles), np.sin(angles)], axis=1)


# Rounded, so that the page's text is the same on every machine.
TARGETS = {
    "peaks": GaussianMixture([[-1.2], [0.1], [1.0]], [0.35, 0.25, 0.4], 0.15),
    "ring": GaussianMixture(np.round(_ring(), 4), np.ones(8), 0.12),
    "moons": GaussianMixture(np.round(_moons(), 4), np.ones(24), 0.1),
}
