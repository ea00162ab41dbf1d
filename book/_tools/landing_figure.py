"""Draw the landing page's figure, `book/_static/landing.png`: a photograph on its way into noise."""

import pathlib

import matplotlib.pyplot as plt
import numpy as np
import skimage.data
import skimage.transform

from ddpm_lib.diffusion import add_noise
from ddpm_lib.images import from_uint8, to_uint8
from ddpm_lib.schedules import linear_schedule

STEPS = [1, 50, 150, 300, 500, 1000]  # the paper's t, counted from 1
SIZE = 160  # pixels


def photograph() -> np.ndarray:
    """Return the face of scikit-image's astronaut, a public-domain NASA photograph, as (1, 160, 160, 3) in [-1, 1]."""
    face = skimage.data.astronaut()[:288, 80:368]
    return from_uint8(np.rint(255 * skimage.transform.resize(face, (SIZE, SIZE), anti_aliasing=True)))[None]


def main():
    """Draw and save."""
    schedule = linear_schedule()
    noise = np.random.default_rng(0).standard_normal((1, SIZE, SIZE, 3)).astype(np.float32)
    figure, axes = plt.subplots(2, len(STEPS), figsize=(10, 3.6), height_ratios=[5, 1.6], layout="constrained")
    for axis, step in zip(axes[0], STEPS, strict=True):
        x_t = add_noise(schedule, photograph(), np.array([step - 1], np.int32), noise)
        axis.imshow(to_uint8(x_t)[0])
        axis.set_title(f"$t = {step}$")
        axis.axis("off")
    for axis in axes[1]:
        axis.remove()
    curve = figure.add_subplot(axes[1, 0].get_gridspec()[1, :])
    t = np.arange(1, schedule.num_steps + 1)
    curve.plot(t, np.sqrt(schedule.alpha_bars), color="#0072B2")
    curve.plot(t, np.sqrt(1 - schedule.alpha_bars), color="#D55E00")
    curve.text(220, 0.9, "image", color="#0072B2")
    curve.text(220, 0.4, "noise", color="#D55E00")
    for step in STEPS:
        curve.axvline(step, color="0.75", linewidth=0.8, zorder=0)
    curve.set(xlim=(-12, 1012), ylim=(-0.03, 1.05), xlabel="step $t$", ylabel="weight", yticks=[0, 1])
    curve.spines[["top", "right"]].set_visible(False)
    path = pathlib.Path(__file__).parents[1] / "_static" / "landing.png"
    figure.savefig(path, dpi=160, metadata={"Software": None})


if __name__ == "__main__":
    main()
