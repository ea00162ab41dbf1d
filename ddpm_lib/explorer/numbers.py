"""The numbers of the schedule explorer that are not in the schedule's own tables."""

from __future__ import annotations

import numpy as np

# Above this, what is left of the picture at step T is worth a warning. It lies between alpha_bar_T of Ho et al. (2020),
# 4.0e-5, and that of Stable Diffusion, 4.7e-3, whose pictures cannot become very dark or bright for that very reason:
# Lin et al. (2023), section 3.1.
TERMINAL_ALPHA_BAR_LIMIT = 1e-3


def prior_kl(alpha_bar_T: float, x_0: np.ndarray) -> float:
    """Divergence of the noised picture from pure noise, KL(q(x_T | x_0) || N(0, I)), in bits per dimension.

    q(x_T | x_0) is N(sqrt(ab) x_0, (1 - ab) I), Eq. 4 of Ho et al. (2020). Two normal distributions have a divergence
    in closed form, and its mean over the D pixels and channels is

        (ab (mean(x_0^2) - 1) - log(1 - ab)) / (2 log 2).

    It is L_T of Eq. 5, the part of the bound that no training can lower.

    Args:
        alpha_bar_T: ab at the last step, in [0, 1).
        x_0: the picture, any shape, in [-1, 1].

    Returns:
        Bits per dimension, 0 or more.
    """
    mean_square = np.mean(np.square(np.asarray(x_0, np.float64)))
    return float((alpha_bar_T * (mean_square - 1.0) - np.log1p(-alpha_bar_T)) / (2.0 * np.log(2.0)))
