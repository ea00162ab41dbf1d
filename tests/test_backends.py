"""The three backends compute the same: forward pass, one training step, also in bfloat16, the samplers."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).parents[1]
BACKENDS = ("tensorflow", "jax", "torch")
FOLDED = ("folded_noise", "folded_loss", "folded_trained")  # pixels in channels, v, cosine, min-SNR
SAMPLES = ("sample", "fresh_sample", "ddpm_sample", "ddim_sample", "dpm_sample")

SCRIPT = """
import inspect
import sys
import keras
import numpy as np
from ddpm_lib import training
from ddpm_lib.config import RunConfig
from ddpm_lib.diffusion import add_noise
from ddpm_lib.hardware import compiled
from ddpm_lib.sampling import ddim_sample, ddpm_sample, dpm_solver_pp_sample

config = RunConfig().replace(
    unet={"image_size": 16, "widths": (8, 16), "blocks_per_level": 1, "attention_resolutions": (16,),
          "heads": 2, "attention_dim": 8, "time_dim": 16},
    train={"learning_rate": 1e-2, "warmup_steps": 1, "ema_decay": 0.9},
)
generator = np.random.default_rng(0)
x_0 = generator.uniform(-1, 1, (4, 16, 16, 3)).astype("float32")
noise = generator.standard_normal(x_0.shape).astype("float32")
t = np.array([0, 10, 500, 999], "int32")


class Supplied(training.DiffusionTrainer):
    def call(self, x_0, training=False):
        steps, fixed = keras.ops.convert_to_tensor(t), keras.ops.convert_to_tensor(noise)
        return steps, fixed, self.network([add_noise(self.schedule, x_0, steps, fixed), steps], training=training)


trainer = Supplied(config)
# Weights in the order of their paths, which is the same everywhere.
weights = [0.1 * generator.standard_normal(w.shape).astype("float32") for w in trainer.network.weights]
trainer.network.set_weights(weights)
trainer.ema_network.set_weights(weights)
to_numpy = keras.ops.convert_to_numpy
results = {"forward": to_numpy(trainer.network([noise, t]))}
results["sample"] = to_numpy(ddim_sample(trainer.predict_noise, trainer.schedule, noise, num_steps=10))


def refuse(*arguments, **options):
    raise AssertionError("predict() in a loop is slow")


keras.Model.predict = keras.Model.predict_on_batch = refuse
predict_noise = compiled(trainer.network)
for num_steps in (1, 3, 10):
    options = {"num_steps": num_steps, "noise_fn": lambda number: noise}
    results["ddpm_sample"] = to_numpy(ddpm_sample(predict_noise, trainer.schedule, noise, **options))
    results["ddim_sample"] = to_numpy(ddim_sample(predict_noise, trainer.schedule, noise, eta=0.5, **options))
    results["dpm_sample"] = to_numpy(dpm_solver_pp_sample(predict_noise, trainer.schedule, noise, num_steps=num_steps))
if keras.backend.backend() == "tensorflow":
    results["num_traces"] = predict_noise.experimental_get_tracing_count()
if keras.backend.backend() == "jax":
    results["num_traces"] = inspect.getclosurevars(predict_noise).nonlocals["apply"]._cache_size()
trainer.fit(x_0, batch_size=4, epochs=1, shuffle=False, verbose=0)
results["loss"] = trainer.finish_epoch()["loss"]
for name, network in (("trained", trainer.network), ("average", trainer.ema_network)):
    results[name] = np.concatenate([w.ravel() for w in network.get_weights()])
results["fresh_sample"] = to_numpy(ddim_sample(trainer.predict_noise, trainer.schedule, noise, num_steps=10))


def momenta(trainer):
    # After one step of Adam they are a tenth of the clipped gradients.
    return np.concatenate([to_numpy(v.value).ravel() for v in trainer.optimizer.variables if "momentum" in v.path])


results["gradients"] = momenta(trainer)
results["is_compiled"] = bool(trainer.jit_compile)
mixed = Supplied(config.replace(train={"precision": "mixed_bfloat16"}))
mixed.network.set_weights(weights)
results["mixed_forward"] = to_numpy(mixed.network([noise, t]))
mixed.fit(x_0, batch_size=4, epochs=1, shuffle=False, verbose=0)
results["mixed_loss"] = mixed.finish_epoch()["loss"]
results["mixed_gradients"] = momenta(mixed)
folded = Supplied(config.replace(
    unet={"patch": 2, "attention_resolutions": (8,)}, diffusion={"kind": "cosine", "prediction": "v"},
    train={"min_snr_gamma": 5.0},
))
weights = [0.1 * generator.standard_normal(w.shape).astype("float32") for w in folded.network.weights]
folded.network.set_weights(weights)
results["folded_noise"] = to_numpy(folded.predict_noise(noise, t))
folded.fit(x_0, batch_size=4, epochs=1, shuffle=False, verbose=0)
results["folded_loss"] = folded.finish_epoch()["loss"]
results["folded_trained"] = np.concatenate([w.ravel() for w in folded.network.get_weights()])
np.savez(sys.argv[1], **results)
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    found = {}
    folder = tmp_path_factory.mktemp("backends")
    for backend in BACKENDS:
        if importlib.util.find_spec(backend) is None:
            continue
        path = folder / f"{backend}.npz"
        environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", SCRIPT, str(path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        found[backend] = np.load(path)
    return found


@pytest.mark.parametrize("backend", BACKENDS[1:])
@pytest.mark.parametrize("what", ["forward", "loss", "trained", "average", *FOLDED, *SAMPLES])
def test_backend_agrees_with_tensorflow(results, backend, what):
    if backend not in results:
        pytest.skip(f"{backend} is not installed")
    if "tensorflow" not in results:
        pytest.skip("tensorflow is not installed")
    ours, reference = results[backend][what], results["tensorflow"][what]
    assert np.isfinite(reference).all()
    if "loss" not in what:
        assert np.std(reference) > 1e-3
    assert np.abs(ours - reference).max() < 1e-4


@pytest.mark.parametrize("backend", BACKENDS)
def test_samples_come_from_the_weights_of_the_moment(results, backend):
    """A compiled sampler that froze the first weights would give the same picture after training."""
    if backend not in results:
        pytest.skip(f"{backend} is not installed")
    assert np.abs(results[backend]["fresh_sample"] - results[backend]["sample"]).max() > 1e-4


@pytest.mark.parametrize("backend", BACKENDS[:2])
def test_one_trace_serves_all_samplers_and_any_number_of_steps(results, backend):
    if backend not in results:
        pytest.skip(f"{backend} is not installed")
    assert results[backend]["num_traces"] == 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("what", ["forward", "loss", "gradients"])
def test_bfloat16_is_close_to_float32_on_every_backend(results, backend, what):
    if backend not in results:
        pytest.skip(f"{backend} is not installed")
    exact, mixed = results[backend][what], results[backend][f"mixed_{what}"]
    assert mixed.dtype == exact.dtype, "results and gradients are float32 (and the loss is summed in float64)"
    # Rounding to 8 bits is an error of 2^-9 at most; some thirty layers add theirs up.
    difference = np.linalg.norm(mixed - exact) / np.linalg.norm(exact)
    assert difference < 2e-2
    assert what == "loss" or difference > 1e-3, "nothing was rounded"


def test_jax_compiles_the_training_step(results):
    """Keras leaves that to the user, and one operation at a time JAX is many times slower."""
    if "jax" not in results:
        pytest.skip("jax is not installed")
    assert results["jax"]["is_compiled"]
