"""Draw the landing page's figure, `book/_static/landing.png`, a photograph on its way into noise."""

import pathlib

import matplotlib.pyplot as plt
import numpy as np
import skimage.data
import skimage.transform
from PIL import Image

from ddpm_lib.diffusion import add_noise
from ddpm_lib.images import from_uint8, to_uint8
from ddpm_lib.schedules import linear_schedule

STEPS = [1, 50, 150, 250, 400, 1000]  # the paper's t, counted from 1
SIZE = 96  # pixels


def photograph() -> np.ndarray:
    """Return scikit-image's astronaut, a NASA photograph in the public domain, as (1, SIZE, SIZE, 3) in [-1, 1]."""
    face = skimage.data.astronaut()[:288, 80:368]
    return from_uint8(np.rint(255 * skimage.transform.resize(face, (SIZE, SIZE), anti_aliasing=True)))[None]


def main():
    """Draw and save."""
    schedule = linear_schedule()
    noise = np.random.default_rng(0).standard_normal((1, SIZE, SIZE, 3)).astype(np.float32)
    plt.rcParams["font.size"] = 12  # still legible when the figure is as wide as a phone
    figure = plt.figure(figsize=(6.4, 6.2), layout="constrained")
    rows = figure.add_gridspec(3, 3, height_ratios=[3, 3, 1.6])
    for index, step in enumerate(STEPS):
        x_t = add_noise(schedule, photograph(), np.array([step - 1], np.int32), noise)
        axis = figure.add_subplot(rows[index // 3, index % 3])
        axis.imshow(to_uint8(x_t)[0])
        axis.set_title(f"$t = {step}$", fontsize=12)
        axis.axis("off")
    curve = figure.add_subplot(rows[2, :])
    t = np.arange(1, schedule.num_steps + 1)
    curve.plot(t, np.sqrt(schedule.alpha_bars), color="#0072B2")
    curve.plot(t, np.sqrt(1 - schedule.alpha_bars), color="#D55E00")
    curve.text(560, 0.3, "image", color="#0072B2")
    curve.text(560, 0.78, "noise", color="#D55E00")
    curve.set(xlim=(0, 1000), ylim=(-0.03, 1.05), xlabel="step $t$", ylabel="weight", yticks=[0, 1])
    curve.spines[["top", "right"]].set_visible(False)
    path = pathlib.Path(__file__).parents[1] / "_static" / "landing.png"
    figure.savefig(path, dpi=150, metadata={"Software": None})
    # 256 colours are plenty here, and noise in full colour does not compress.
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


if __name__ == "__main__":
    main()
