"""The user's own Keras settings, of keras.json and the environment, change nothing or are named in one line."""

import json
import sys

import keras
import numpy as np
import pytest

from ddpm_lib import evaluation, training
from ddpm_lib.cli import conventions
from ddpm_lib.config import InputError
from ddpm_lib.evaluation import faces
from ddpm_lib.sampling import ddim_sample, noise_per_image
from tests.test_cli import run
from tests.test_training import IMAGES, TINY, new_trainer


@pytest.fixture
def usual_settings():
    yield
    of_keras_json("float32", "channels_last")


def of_keras_json(floatx, data_format):
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(floatx)  # it follows floatx until it is first asked for
    keras.config.set_image_data_format(data_format)


def train_and_sample():
    """Train one step, then draw: what it ends with."""
    trainer = new_trainer(TINY.replace(unet={"widths": (4, 8)}, train={"epochs": 1, "steps_per_epoch": 1}))
    training.fit_run(trainer, IMAGES, verbose=0)
    x_T = noise_per_image([1, 2], (8, 8, 1))(-1)
    x_0 = ddim_sample(trainer.predict_noise, trainer.schedule, x_T, num_steps=2)
    return [*trainer.network.get_weights(), keras.ops.convert_to_numpy(x_0)]


@pytest.mark.slow
def test_the_order_of_axes_and_floatx_change_nothing(usual_settings):
    expected = train_and_sample()
    for floatx in ("float16", "float64"):
        of_keras_json(floatx, "channels_first")
        for ours, theirs in zip(train_and_sample(), expected, strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_array_equal(ours, theirs)


def describe_and_find():
    """What the three networks for faces answer, with weights that are not theirs."""
    generator, answers = np.random.default_rng(0), []
    for network, side in [(faces._propose(), 20), (faces._refine(), 24), (faces._decide(), 48)]:
        weights = [generator.normal(0, 0.1, weight.shape).astype(np.float32) for weight in network.weights]
        network.set_weights(weights)
        answers += network.predict_on_batch(generator.uniform(-1, 1, (2, side, side, 3)).astype(np.float32))
    return answers


@pytest.mark.slow
def test_the_networks_that_measure_take_nothing_from_them_either(usual_settings, monkeypatch):
    expected = describe_and_find()
    of_keras_json("float16", "channels_first")
    for ours, theirs in zip(describe_and_find(), expected, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours, theirs)

    def settings(**_):
        return keras.config.floatx(), keras.config.dtype_policy().name, keras.config.image_data_format()

    # Inception-v3 can be told neither.
    monkeypatch.setattr(keras.applications, "InceptionV3", settings)
    assert evaluation.feature_network("inception").network == ("float32", "float32", "channels_last")
    assert settings() == ("float16", "float16", "channels_first")


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{"backend": "theano"}, {"backend": "numpy"}, {"floatx": "float8"}, {"image_data_format": 1}]
)
def test_a_keras_json_that_cannot_be_used_is_one_line(settings, tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    result = run("generate.py", env={"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": ""})
    assert result.returncode == 2, result.stderr
    assert "keras.json" in result.stderr.splitlines()[-1] and "Traceback" not in result.stderr


@pytest.mark.parametrize("present, advice", [(["tensorflow", "jax"], "KERAS_BACKEND=tensorflow"), (["jax"], None)])
def test_the_other_backend_named_is_one_that_is_there(present, advice, monkeypatch):
    class Refuses:
        def find_spec(self, name, path=None, target=None):
            if name == "keras":
                raise ModuleNotFoundError("No module named 'jax'", name="jax")

    monkeypatch.setattr(sys, "meta_path", [Refuses(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setattr(conventions.importlib.util, "find_spec", lambda name: name in present or None)
    with pytest.raises(InputError) as caught:
        conventions.import_keras()
    assert str(caught.value).startswith("jax is not installed: install it")
    assert (advice or "it") == str(caught.value).split()[-1].split(": ")[-1]
