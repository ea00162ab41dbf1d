"""A run that diverges keeps what it had, says so, and its files are neither drawn from nor exported."""

import json
import os
import re
import signal

import keras
import numpy as np
import pytest

from ddpm_lib import checkpoints, cli, data, images, stopping, training
from ddpm_lib.config import PRESETS, DataConfig, DiffusionConfig, InputError, UNetConfig
from ddpm_lib.schedules import build_schedule
from tests.test_training import IMAGES, TINY, callbacks, new_trainer


class SpoilAt(keras.callbacks.Callback):
    """Puts a nan into the weights before the step of a number."""

    def __init__(self, step):
        super().__init__()
        self.at = step

    def on_train_batch_begin(self, batch, logs=None):
        if self.model.step == self.at:
            spoil(self.model.network)


def spoil(network, value=np.nan):
    weights = network.get_weights()
    weights[-1] = np.full_like(weights[-1], value)
    network.set_weights(weights)


class PressCtrlC(keras.callbacks.Callback):
    """Does so in the eighth step."""

    def on_train_batch_begin(self, batch, logs=None):
        if self.model.step == 7:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize(
    "others, at, seen, last",
    [([], 5, 6, 4), ([], 3, 4, 3), ([PressCtrlC()], 7, 8, 6)],
    ids=["at the end of an epoch", "at a save within one", "on Ctrl-C"],
)
def test_what_is_not_finite_replaces_nothing(tmp_path, others, at, seen, last):
    folder = tmp_path / "run"
    trainer = new_trainer()
    with pytest.raises(InputError) as caught:
        training.fit_run(trainer, IMAGES, [*others, SpoilAt(at), *callbacks(folder, every=4)], verbose=0)
    assert trainer.step == seen
    assert f"after step {seen}" in str(caught.value)
    assert f"the last good file is {folder / 'latest.keras'}" in str(caught.value)
    assert "--lr below 0.01" in str(caught.value) and "\n" not in str(caught.value)
    good = checkpoints.resume(folder / "latest.keras")
    assert good.step == last
    assert np.isfinite(np.concatenate([w.ravel() for w in good.network.get_weights()])).all()
    # What goes on elsewhere and saves nothing there has still the file it comes from.
    spoil(good.network)
    with pytest.raises(InputError, match=f"the last good file is {folder / 'latest.keras'}; start"):
        checkpoints.save(good, tmp_path / "other/latest.keras")


def test_a_state_that_is_not_finite_is_not_saved(tmp_path):
    for part in ("network", "ema_network"):
        trainer = new_trainer()
        spoil(getattr(trainer, part), np.inf)
        with pytest.raises(InputError, match="not finite, and nothing was saved: no earlier state was saved"):
            checkpoints.save(trainer, tmp_path / "x.keras")
    trainer = new_trainer(TINY.replace(train={"precision": "mixed_float16"}))
    trainer.loss_sums.assign(np.full(4, np.inf, "float32"))
    with pytest.raises(InputError, match=r"or with --precision float32$"):
        checkpoints.save(trainer, tmp_path / "x.keras")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_files_that_are_not_finite_are_refused(tmp_path, capsys):
    digits = data.load_images(DataConfig(), UNetConfig(16, 1))
    config = TINY.replace(unet={"image_size": 16}, data=data.describe(digits))
    trainer = new_trainer(config)
    spoil(trainer.ema_network)
    trainer.save(tmp_path / "bad.keras")
    np.savez(
        tmp_path / "bad.npz",
        about=np.array(json.dumps({"config": config.to_dict(), "step": 1, "rows": []}).encode()),
        **{w.path: keras.ops.convert_to_numpy(w.value) for w in trainer.ema_network.weights},
    )
    for act, name in [
        (checkpoints.load, "bad.keras"),
        (checkpoints.resume, "bad.keras"),
        (checkpoints.load, "bad.npz"),
        (lambda path: checkpoints.export(path, tmp_path / "out.npz"), "bad.keras"),
    ]:
        with pytest.raises(InputError, match=rf"{name} is of a run that diverged .* is not finite"):
            act(tmp_path / name)
    for command in ("generate --model", "info --model", "train --out new --resume"):
        command = command.replace("new", str(tmp_path / "new"))
        assert cli.main([*command.split(), str(tmp_path / "bad.keras")]) == 2
        assert "bad.keras is of a run that diverged" in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.glob("new/*")) and not (tmp_path / "out.npz").exists()


def test_samples_that_are_not_finite_are_not_drawn(tmp_path):
    """The weights may be finite, and yet too large to draw with."""
    trainer = new_trainer()
    trainer.global_step.assign(3)
    spoil(trainer.ema_network)
    grid = training.SampleGrid(tmp_path, 3, num_images=1)
    grid.set_model(trainer)
    with pytest.raises(InputError, match=r"samples are nan in epoch 1, after step 3: no earlier state .*--lr below"):
        grid.on_epoch_end(0)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_weight_beyond_float16_is_not_exported(tmp_path):
    trainer = new_trainer()
    spoil(trainer.ema_network, 1e5)
    checkpoints.save(trainer, tmp_path / "big.keras")
    with pytest.raises(InputError, match="beyond float16"):
        checkpoints.export(tmp_path / "big.keras", tmp_path / "big.npz")
    assert not (tmp_path / "big.npz").exists()


def test_what_is_no_number_is_no_black_pixel():
    with pytest.raises(InputError, match="diverged"):
        images.to_uint8(np.full((1, 2, 2, 1), np.nan))


@pytest.mark.parametrize(
    "diffusion, fine, bad, untrained",
    [
        (DiffusionConfig(), 1.1, 1.3, "is 1$"),
        # The mean of cos^2 over a quarter of its period: what zeros for v are worth as noise.
        (DiffusionConfig("cosine", prediction="v"), 0.5, 0.7, r"is 0\.5$"),
    ],
)
def test_a_loss_is_compared_with_that_of_an_untrained_network(diffusion, fine, bad, untrained):
    about = diffusion.prediction, build_schedule(**diffusion.schedule)
    assert stopping.finite_divergence([{"loss": bad}, {"loss": fine}], *about) is None
    assert re.search(untrained, stopping.finite_divergence([{"loss": fine}, {"loss": bad}], *about))


@pytest.mark.slow
def test_a_run_that_diverges_and_stays_finite_does_not_end_well(tmp_path, capsys, monkeypatch):
    """A rate of 10 has no good end, and Adam's steps keep it finite; the advice in the line is followed."""
    small = {"widths": (8,), "blocks_per_level": 1, "heads": 2, "attention_dim": 8, "time_dim": 16}
    monkeypatch.setitem(PRESETS, "digits16", PRESETS["digits16"].replace(unet=small, train={"warmup_steps": 1}))
    flags = ["train", "--batch_size", "8", "--steps_per_epoch", "4", "--epochs", "1"]
    assert cli.main([*flags, "--lr", "10", "--out", str(tmp_path / "far")]) == 2
    printed = capsys.readouterr()
    assert "done" not in printed.out
    assert "--lr below 10" in printed.err.splitlines()[-1]
    model = ["--model", str(tmp_path / "far/latest.keras")]
    drawing = ["--steps", "1", "--num_samples", "1", "--out", str(tmp_path / "drawn")]
    for command in (["info"], ["generate", *drawing], ["export", "--out", str(tmp_path / "far.npz")]):
        assert cli.main([*command, *model]) == 0
        lines = capsys.readouterr().err.splitlines()
        warnings = [line for line in lines if "the run has diverged: its loss is" in line]
        assert len(warnings) == 1 and warnings[0].startswith(f"{tmp_path / 'far/latest.keras'}: ")
    assert cli.main([*flags, "--lr", "1e-3", "--out", str(tmp_path / "near")]) == 0
