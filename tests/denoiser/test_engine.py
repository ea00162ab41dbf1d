"""The denoiser in the page: its kernel, noise, files and walks against NumPy's and the library's, in a real browser."""

import base64
import json
import sys

import numpy as np
import pytest

from ddpm_lib import checkpoints, sampling
from ddpm_lib.schedules import NoiseSchedule
from tests.conftest import ROOT
from tests.denoiser.models import CONFIGS, ELEMENT, walk

sys.path.insert(0, str(ROOT / "book" / "_tools"))
import kernel


def librarys(model, sampler, num_steps, seeds, variance="beta", eta=0.0):
    """What the library draws, as `generate.py` would."""
    functions = {
        "ddpm": (sampling.ddpm_sample, {"variance": variance}),
        "ddim": (sampling.ddim_sample, {"eta": eta}),
        "dpm++": (sampling.dpm_solver_pp_sample, {}),
    }
    function, options = functions[sampler]
    return sampling.sample_images(model, function, seeds, num_steps=num_steps, **options)


# ---- Kernel, noise, files --------------------------------------------------------------------------------------------


def test_the_script_has_the_bytes_of_the_kernels_source():
    assert kernel.KERNEL.read_text("utf8") == kernel.script(), "run `python book/_tools/kernel.py`"


def test_kernel_convolves_as_numpy_does(visit):
    rng = np.random.default_rng(0)
    image, taps, bias = rng.normal(size=(10, 10, 4)), rng.normal(size=(3, 3, 4, 16)), rng.normal(size=16)
    panels = np.concatenate([taps[..., :8].ravel(), taps[..., 8:].ravel()])
    found = visit().evaluate(
        """([bytes, input, weights, bias]) => {
          const memory = new WebAssembly.Memory({ initial: 2 }), heap = new Float32Array(memory.buffer);
          const module = new WebAssembly.Module(new Uint8Array(bytes));
          const { multiply } = new WebAssembly.Instance(module, { page: { memory } }).exports;
          heap.set(input, 0); heap.set(weights, 1000); heap.set(bias, 3000);
          multiply(0, 16, 12, 3, 160, 8, 8, 160, 4000, 12000, 16000, 64, 2);
          return Array.from(heap.slice(4000, 4000 + 8 * 8 * 16));
        }""",
        [list(kernel.module()), *(array.ravel().tolist() for array in (image, panels, bias))],
    )
    windows = np.lib.stride_tricks.sliding_window_view(image, (3, 3), axis=(0, 1))  # (8, 8, 4, 3, 3)
    expected = np.einsum("yxcij,ijco->yxo", windows, taps) + bias
    np.testing.assert_allclose(np.reshape(found, (8, 8, 16)), expected, atol=2e-5)


@pytest.mark.parametrize("entropy", [[3, 0], [0, 0], [4294967279, 1000]])
def test_noise_is_numpys(visit, entropy):
    found = visit().evaluate(
        "(entropy) => Array.from({ length: 50000 }, ddpmExplorers.numpyNormals(entropy))",
        entropy,
    )
    expected = np.random.default_rng(entropy).standard_normal(50_000, dtype=np.float32)
    assert np.abs(found - expected).max() < 1e-6  # in the tail the logarithms round differently
    assert np.mean(found == expected) > 0.999


def refusal(page, path):
    """What the page says of a file."""
    encoded = base64.b64encode(path.read_bytes()).decode()
    return page.evaluate(
        "(file) => new ddpmExplorers.ModelWorker().load(file).then(() => null, (error) => error.message)",
        encoded,
    )


def test_what_it_cannot_compute_is_refused_in_words(visit, models, tmp_path):
    page, path = visit(), tmp_path / "model.npz"
    with np.load(models["sigmoid"]) as file:
        arrays = dict(file)
    config = json.loads(bytes(arrays["about"][()]))["config"]
    assert refusal(page, models["sigmoid"]) is None

    def after(changed=None, save=np.savez, drop=(), **more):
        about = {"config": {**config, **(changed or {})}}
        kept = {name: array for name, array in {**arrays, **more}.items() if name not in drop}
        save(path, **{**kept, "about": np.array(json.dumps(about).encode())})
        return refusal(page, path)

    assert "setting width_of_dreams (7)" in after({"unet": {**config["unet"], "width_of_dreams": 7}})
    assert "multiples of 8" in after({"unet": {**config["unet"], "widths": [12]}})
    assert "no multiple of 4" in after({"unet": {**config["unet"], "widths": [16] * 4}})
    assert "schedule quadratic" in after({"diffusion": {**config["diffusion"], "kind": "quadratic"}})
    assert "prediction score" in after({"diffusion": {**config["diffusion"], "prediction": "score"}})
    assert "no head/bias" in after(drop=["head/bias"])
    assert "the layer gate/kernel" in after(**{"gate/kernel": np.zeros((8, 8), "float16")})
    assert "head does not fit" in after(**{"head/kernel": np.zeros((1, 1, 16, 1), "float16")})
    assert "not float16" in after(**{"head/bias": np.zeros(1, "float32")})
    assert "compressed" in after(save=np.savez_compressed)
    path.write_bytes(models["sigmoid"].read_bytes()[:-100])
    assert "only a part" in refusal(page, path)


# ---- Walks -----------------------------------------------------------------------------------------------------------

WALKS = [
    {"sampler": "ddim", "num_steps": 20},
    {"sampler": "ddim", "num_steps": 20, "eta": 0.6},
    {"sampler": "ddpm", "num_steps": 20},
    {"sampler": "ddpm", "num_steps": 20, "variance": "posterior"},
    {"sampler": "dpm++", "num_steps": 20},
]


@pytest.mark.parametrize("name", [*checkpoints.shipped_models(), *CONFIGS])
def test_walks_are_the_librarys(visit, models, name):
    model, page = checkpoints.load(models[name]), visit()
    for options in WALKS:
        images, x_0 = walk(page, model=name, seed=3, images="4", **options)
        expected = librarys(model, seeds=range(3, 7), **options)
        gap = np.abs(images - expected).max()
        print(f"{name} {options}: {gap:.1e}")
        assert gap < 1e-4, (name, options)
        assert np.abs(x_0).max() <= 1


def test_walks_without_webassembly_are_the_librarys(visit, models):
    page = visit(init="delete globalThis.WebAssembly")
    for name in ("digits", "attention"):
        images, _ = walk(page, model=name, seed=3, images="1", sampler="ddim", num_steps=5)
        expected = librarys(checkpoints.load(models[name]), "ddim", 5, [3])
        assert np.abs(images - expected).max() < 1e-4


def test_painting_is_finished_as_the_library_would(visit, models):
    """A walk from step 400 of 1000 is a walk of a schedule that has only these: its steps are 400, 350, ..., 50."""
    page, model = visit(), checkpoints.load(models["digits"])
    options = {"num_steps": 20, "images": "4", "seed": 3}
    images, _ = walk(page, model="digits", sampler="ddim", start="painting", strength=0.4, **options)
    values = page.evaluate(f"() => Array.from({ELEMENT}.paper.values([16, 16, 1]))")
    painting = np.reshape(values, (16, 16, 1)).astype("float32")
    assert painting.min() == -1 and painting.max() == 1 and 0.1 < np.mean(painting > 0) < 0.5
    noise_of = sampling.noise_per_image(range(3, 7), (16, 16, 1))
    alpha_bar = model.schedule.alpha_bars[399]
    x = (np.sqrt(alpha_bar) * painting + np.sqrt(1 - alpha_bar) * noise_of(-1)).astype("float32")
    short = NoiseSchedule(model.schedule.betas[:400])
    expected = np.asarray(sampling.ddim_sample(model.predict_noise, short, x, num_steps=8))
    assert np.abs(images - expected).max() < 1e-4
    assert np.mean((images - painting) ** 2) < 0.7 * np.mean((librarys(model, "ddim", 20, range(3, 7)) - painting) ** 2)
