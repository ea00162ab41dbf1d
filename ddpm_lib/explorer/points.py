"""Points in the plane that a network learns in the page."""

import numpy as np

REACH = 2.6  # the page shows -2.6 .. 2.6


def _moons():
    angles = np.pi * np.arange(24) / 23
    upper = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return 1.25 * (np.concatenate([upper, (1.0, 0.5) - upper]) - (0.5, 0.25))


def _ring():
    angles = 2 * np.pi * np.arange(36) / 36
    return 1.4 * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _spiral():
    """Points at about even distances: the radius grows as the root of their number."""
    along = np.sqrt((np.arange(60) + 0.5) / 60)
    angles = 3.5 * np.pi * along
    return 1.9 * along[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


# Rounded, so that the page's text is the same on every machine.
SHAPES = {"moons": np.round(_moons(), 3), "ring": np.round(_ring(), 3), "spiral": np.round(_spiral(), 3)}
