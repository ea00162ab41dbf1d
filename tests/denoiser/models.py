"""What the tests of the denoiser share: models with random weights, and a walk in the page."""

import numpy as np

from ddpm_lib.config import PRESETS

ELEMENT = "document.querySelector('ddpm-denoiser')"
CONFIGS = {  # models with random weights, exported as a trained one is
    "folded_v": PRESETS["faces64"].replace(unet={"widths": (16, 32), "time_dim": 64, "attention_dim": 32}),
    "attention": PRESETS["digits16"].replace(
        unet={"widths": (16, 24), "attention_resolutions": (16,), "heads": 2, "attention_dim": 32, "channels": 3}
    ),
    "sigmoid": PRESETS["digits16"].replace(
        unet={"widths": (16,), "groups": 4, "blocks_per_level": 1},
        diffusion={"kind": "sigmoid", "num_steps": 60, "prediction": "v"},
    ),
}


def finish(page, **settings):
    """Let the page walk to the end."""
    page.evaluate(f"(settings) => {ELEMENT}.change(settings)", settings)
    page.get_by_role("button", name="Denoise").click()
    page.wait_for_function(
        f"""() => {{
          const {{ walk, running, warning }} = {ELEMENT};
          return !warning.hidden || (walk?.newest?.done === walk?.count && !running);
        }}""",
        timeout=300_000,
    )
    assert page.locator(".warn").is_hidden(), page.locator(".warn").text_content()


def walk(page, **settings):
    """Let the page walk to the end; return the images and the last prediction of the clean images."""
    finish(page, **settings)
    x, x_0, shape = page.evaluate(
        f"""() => {{
          const {{ newest, shape }} = {ELEMENT}.walk;
          return [Array.from(newest.x), Array.from(newest.x0), shape];
        }}"""
    )
    return np.reshape(x, (-1, *shape)), np.reshape(x_0, (-1, *shape))
