"""Pages with the denoiser, and models for them."""

import json

import keras
import numpy as np
import pytest

from ddpm_lib import checkpoints
from ddpm_lib.explorer import Denoiser, model_script
from ddpm_lib.unet import build_unet
from tests import pages
from tests.denoiser.models import CONFIGS


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Files of models: those that come with the project, and small ones with random weights."""
    folder, rng = tmp_path_factory.mktemp("models"), np.random.default_rng(2)
    paths = {name: entry["path"] for name, entry in checkpoints.shipped_models().items()}
    for name, config in CONFIGS.items():
        keras.utils.set_random_seed(1)
        weights = {}
        for weight in build_unet(config.unet, "float32").weights:
            scale = 0.3 / np.sqrt(np.prod(weight.shape[:-1])) if len(weight.shape) > 1 else 0.1
            first = np.asarray(weight.value)  # some start at zero, some at one
            weights[weight.path] = (first + scale * rng.standard_normal(weight.shape)).astype("float16")
        about = json.dumps({"config": config.to_dict(), "step": 1, "rows": []})
        paths[name] = folder / f"{name}.npz"
        np.savez(paths[name], about=np.array(about.encode()), **weights)
    return paths


@pytest.fixture(scope="module")
def folder(tmp_path_factory, models):
    """A page with the denoiser, the script, and the files of the models, as the book has them."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "models").mkdir()
    for name, path in models.items():
        (folder / "models" / f"{name}.js").write_text(model_script(name, path), "utf8")
    about = {name: {"bytes": path.stat().st_size, "channels": 1} for name, path in models.items()}
    element = f"<ddpm-denoiser name='denoiser' models='{json.dumps(about)}'></ddpm-denoiser>"
    return pages.write_pages(folder, {"denoiser": element, "still": Denoiser().to_html()})


@pytest.fixture
def visit(chromium, folder):
    """Open a page; see `pages.visits`."""
    with pages.visits(chromium, folder) as open_page:
        yield lambda name="denoiser", **options: open_page(name, **options)
