"""Make the landing page's film, `book/_static/landing_film.webp`: four faces come out of noise.

    python book/_tools/landing_film.py

It takes half a minute. Run it again after the model has changed; a test compares the checksum. The frames lie in one
picture, one below the other, and the page's style sheet moves that picture behind a window, so that the film needs no
script, ends by itself, and stands still for readers who want less motion. Beside it `landing_film.json` says how it was
made. The page reads its caption there, and what its panel starts with: the same faces.
"""

import json
import pathlib

import keras
import numpy as np
from PIL import Image

from ddpm_lib import checkpoints, images, sampling

STATIC = pathlib.Path(__file__).parents[1] / "_static"
MODEL = "faces"
SEEDS = (0, 1, 2, 3)
NUM_STEPS = 20
VARIANCE = "posterior"  # of DDPM: its fresh noise covers up errors that DDIM keeps


def main():
    """Draw the faces, and keep every step on the way."""
    model = checkpoints.load(MODEL)
    walk = [sampling.noise_per_image(SEEDS, model.image_shape)(-1)]

    def keep(step):
        walk.append(keras.ops.convert_to_numpy(step.x))

    sampling.sample_images(model, sampling.ddpm_sample, SEEDS, num_steps=NUM_STEPS, variance=VARIANCE, callback=keep)
    frames = [images.make_grid(images.to_uint8(x), columns=2, pad=0) for x in walk]
    strip = images.to_pil(np.concatenate(frames))
    # Without losses it would be a megabyte, most of it noise.
    Image.Image.save(strip, STATIC / "landing_film.webp", quality=80, method=6)
    about = {
        "model": MODEL,
        "sha256": checkpoints.shipped_models()[MODEL]["sha256"],
        "sampler": "ddpm",
        "variance": VARIANCE,
        "num_steps": NUM_STEPS,
        "seeds": SEEDS,
        "frames": len(frames),
    }
    (STATIC / "landing_film.json").write_text(json.dumps(about, indent=1) + "\n", "utf8")


if __name__ == "__main__":
    main()
