"""The trainer: loss, average, precision, and runs that go on as if nothing had happened."""

import os
import signal

import keras
import numpy as np
import pytest
from keras import ops

from ddpm_lib import checkpoints, training
from ddpm_lib.config import InputError, RunConfig, UNetConfig

TINY = RunConfig().replace(
    unet={
        "image_size": 8,
        "channels": 1,
        "widths": (4,),
        "blocks_per_level": 1,
        "heads": 2,
        "attention_dim": 4,
        "time_dim": 8,
    },
    data={"horizontal_flip": True},
    train={"epochs": 3, "batch_size": 4, "warmup_steps": 2, "learning_rate": 1e-2, "ema_decay": 0.9, "seed": 5},
)
IMAGES = np.random.default_rng(0).integers(0, 256, (14, 8, 8, 1), dtype=np.uint8)  # 3 steps an epoch, 2 left over


def new_trainer(config=TINY):
    keras.utils.set_random_seed(config.train.seed)
    return training.DiffusionTrainer(config)


def numpy(x):
    return ops.convert_to_numpy(x)


def state(trainer):
    """Everything that a run carries from step to step."""
    variables = [*trainer.network.weights, *trainer.ema_network.weights, *trainer.optimizer.variables]
    variables += [trainer.global_step, trainer.loss_sums, trainer.loss_counts]
    return [numpy(v.value[...]) for v in variables]


def assert_same(one, other):
    for a, b in zip(state(one), state(other), strict=True):
        assert np.array_equal(a, b)
    assert repr(one.rows) == repr(other.rows)  # nan, of a quarter without images, is unequal to itself


def callbacks(folder, per_epoch=3, **options):
    folder.mkdir(exist_ok=True)
    return [training.History(folder, per_epoch), checkpoints.SaveCheckpoints(folder, per_epoch, **options)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupts, and its folder: what others are compared with."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    trainer = new_trainer()
    training.fit_run(trainer, IMAGES, callbacks(folder), verbose=0)
    return trainer, folder


@pytest.mark.slow
def test_first_loss_is_one_and_every_image_is_booked_in_the_quarter_of_its_step(tmp_path):
    config = TINY.replace(train={"batch_size": 256, "learning_rate": 1e-12, "epochs": 1})
    trainer = new_trainer(config)
    images = np.tile(IMAGES, (19, 1, 1, 1))[:256]
    trainer.fit(images.astype("float32") / 127.5 - 1, batch_size=256, epochs=1, verbose=0)
    counts = numpy(trainer.loss_counts.value)
    assert counts.sum() == 256 and (counts > 30).all(), counts
    row = trainer.finish_epoch()
    assert row["loss"] == pytest.approx(1.0, abs=0.03)
    by_quarter = np.array([row[f"loss_q{i}"] for i in (1, 2, 3, 4)])
    assert (by_quarter * counts).sum() / 256 == pytest.approx(row["loss"], rel=1e-5)


def test_all_steps_are_drawn_evenly():
    trainer = new_trainer(TINY)
    trainer.network = lambda inputs, training: inputs[0]
    x_0 = np.zeros((20_000, 1, 1, 1), "float32")
    draws = np.concatenate([numpy(trainer(x_0)[0]) for _ in range(5)])
    assert draws.dtype == np.int32 and draws.min() == 0 and draws.max() == 999
    counts, _ = np.histogram(draws, bins=10, range=(0, 1000))
    chi_square = ((counts - 10_000) ** 2 / 10_000).sum()
    assert chi_square < 33.7, "99.99 % of fair draws stay below, with 9 degrees of freedom"


def test_two_calls_draw_different_noise_and_two_runs_the_same():
    x_0 = np.zeros((4, 8, 8, 1), "float32")
    one, other = new_trainer(), new_trainer()
    first, second = numpy(one(x_0)[1]), numpy(one(x_0)[1])
    assert not np.array_equal(first, second)
    assert np.array_equal(first, numpy(other(x_0)[1]))
    assert not np.array_equal(first, numpy(new_trainer(TINY.replace(train={"seed": 6}))(x_0)[1]))


def test_the_largest_seed_has_dropout():
    new_trainer(TINY.replace(unet={"dropout": 0.5}, train={"seed": 2**32 - 1})).restore_randomness()


@pytest.mark.slow
def test_a_grid_is_drawn_where_the_schedule_has_few_steps(tmp_path):
    trainer = new_trainer(TINY.replace(diffusion={"num_steps": 10}, train={"epochs": 1}))
    training.fit_run(trainer, IMAGES, [training.SampleGrid(tmp_path, 3, num_images=1)], verbose=0)
    assert (tmp_path / "samples/epoch_1.png").is_file()


def test_dropout_differs_from_layer_to_layer_step_to_step_and_run_to_run_and_repeats_in_a_resumed_run():
    def masks(trainer):
        trainer.restore_randomness()
        dropouts = [layer for layer in trainer.network._flatten_layers() if isinstance(layer, keras.layers.Dropout)]
        return [numpy(layer(np.ones((1, 200), "float32"), training=True)).tobytes() for layer in dropouts]

    trainer, other = (new_trainer(TINY.replace(unet={"dropout": 0.5}, train={"seed": seed})) for seed in (5, 15))
    first = masks(trainer)
    assert masks(trainer) == first
    trainer.global_step.assign_add(1)
    drawn = [*first, *masks(trainer), *masks(other)]
    assert len(first) == 4 and len(set(drawn)) == len(drawn)  # two of 200 alike: once in 2^200


@pytest.mark.slow
def test_average_follows_its_recursion_with_warm_up():
    trainer = new_trainer()
    average = [w.copy() for w in trainer.network.get_weights()]

    class Follow(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            k = self.model.step - 1
            decay = min(0.9, (1 + k) / (10 + k))
            for i, weight in enumerate(self.model.network.get_weights()):
                average[i] = decay * average[i] + (1 - decay) * weight

    training.fit_run(trainer, IMAGES, [Follow()], verbose=0)
    for ours, expected in zip(trainer.ema_network.get_weights(), average, strict=True):
        assert np.allclose(ours, expected, rtol=1e-5, atol=1e-7)
    moved = [np.abs(a - b).max() for a, b in zip(average, trainer.network.get_weights(), strict=True)]
    assert max(moved) > 1e-4, "average and weights are one"


def test_ema_decay_at_known_steps():
    values = [float(numpy(training.ema_decay_at(step, 0.9999))) for step in (0, 80, 8990, 10**6)]
    assert values == pytest.approx([0.1, 0.9, 0.999, 0.9999], rel=1e-6)


def test_only_the_network_is_trained():
    trainer = new_trainer()
    assert [v.path for v in trainer.trainable_variables] == [v.path for v in trainer.network.trainable_variables]
    sizes = [w.shape for w in trainer.network.weights]
    assert [w.shape for w in trainer.ema_network.weights] == sizes


def test_warm_up_rises_to_the_rate_and_stays():
    schedule = training.LinearWarmup(0.1, 4)
    assert [float(numpy(schedule(k))) for k in (0, 1, 3, 4, 100)] == pytest.approx([0.025, 0.05, 0.1, 0.1, 0.1])


def test_gradients_are_clipped_by_their_global_norm():
    optimizer = training.make_optimizer(TINY.train)
    assert optimizer.global_clipnorm == 1.0 and optimizer.clipnorm is None


@pytest.mark.slow
def test_a_run_goes_on_from_any_step_as_if_never_stopped(whole, tmp_path):
    whole, folder = whole
    assert whole.step == 9 and len(whole.rows) == 3

    class SaveAndStop(keras.callbacks.Callback):
        def __init__(self, step):
            super().__init__()
            self.at = step

        def on_train_batch_end(self, batch, logs=None):
            if self.model.step == self.at:
                checkpoints.save(self.model, tmp_path / "part.keras")
                raise InterruptedError

    trainer = new_trainer()
    for step in (2, 4, 7):
        with pytest.raises(InterruptedError):
            training.fit_run(trainer, IMAGES, [*callbacks(tmp_path / "part"), SaveAndStop(step)], verbose=0)
        trainer = checkpoints.resume(tmp_path / "part.keras")
        assert trainer.step == step
    training.fit_run(trainer, IMAGES, callbacks(tmp_path / "part"), verbose=0)
    assert_same(whole, trainer)
    assert (tmp_path / "part/history.csv").read_text() == (folder / "history.csv").read_text()


@pytest.mark.slow
def test_more_epochs_can_be_added(whole, tmp_path):
    short = new_trainer(TINY.replace(train={"epochs": 1}))
    training.fit_run(short, IMAGES, callbacks(tmp_path / "short"), verbose=0)
    longer = checkpoints.resume(tmp_path / "short/unet_epoch_1.keras")
    longer.run = longer.run.replace(train={"epochs": 3})
    training.fit_run(longer, IMAGES, callbacks(tmp_path / "short"), verbose=0)
    assert_same(whole[0], longer)


@pytest.mark.slow
def test_ctrl_c_finishes_the_step_and_saves_it(whole, tmp_path):
    class PressCtrlC(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if self.model.step == 4:
                os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    trainer = new_trainer()
    with pytest.raises(KeyboardInterrupt):
        training.fit_run(trainer, IMAGES, [*callbacks(tmp_path / "run"), PressCtrlC()], verbose=0)
    assert signal.getsignal(signal.SIGINT) is before
    resumed = checkpoints.resume(tmp_path / "run/latest.keras")
    assert resumed.step == 5
    training.fit_run(resumed, IMAGES, callbacks(tmp_path / "run"), verbose=0)
    assert_same(whole[0], resumed)


def test_no_callback_makes_keras_read_the_loss_after_every_step(tmp_path):
    """With an `on_train_batch_end` among them Keras waits for the device before it sends the next step."""
    ours = [training.FinishStepOnInterrupt(), *callbacks(tmp_path / "run"), training.SampleGrid(tmp_path / "run", 3)]
    for callback in ours:
        assert keras.callbacks.Callback.on_train_batch_end is type(callback).on_train_batch_end
        assert keras.callbacks.Callback.on_batch_end is type(callback).on_batch_end


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    trainer = new_trainer(TINY.replace(train={"epochs": 1}))
    weights = trainer.network.get_weights()
    trainer.network.set_weights([np.full_like(w, np.nan) for w in weights])
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(InputError, match="loss is nan in epoch 1, after step 3: no earlier state"):
        training.fit_run(trainer, IMAGES, callbacks(tmp_path / "run"), verbose=0)
    assert signal.getsignal(signal.SIGINT) is before, "Ctrl-C stays without effect in a notebook"
    assert not list((tmp_path / "run").glob("*.keras")), "a broken state was saved"


def test_images_that_do_not_fit_the_run_are_refused_by_the_library_too():
    trainer = new_trainer()
    for images, message in [
        (IMAGES[:3], "batch_size 4 is more than the 3 images"),
        (IMAGES[:, :4], r"must be uint8 \(N, 8, 8, 1\), got uint8 \(14, 4, 8, 1\)"),
        (IMAGES[..., 0], r"got uint8 \(14, 8, 8\)"),
        (IMAGES / 255, r"got float64 \(14, 8, 8, 1\)"),
    ]:
        with pytest.raises(InputError, match=message):
            training.fit_run(trainer, images, verbose=0)
    assert trainer.step == 0
    for settings in ({"keep": 0}, {"every": 0}):
        with pytest.raises(InputError, match="must be at least 1"):
            checkpoints.SaveCheckpoints("nowhere", 3, **settings)
    with pytest.raises(InputError, match="must be at least 1"):
        training.SampleGrid("nowhere", 3, num_images=0)


@pytest.mark.parametrize("name", ["max_epochs", "max_steps_per_epoch"])
def test_a_limit_of_keras_is_refused(monkeypatch, name):
    """Under the first a run would never end, and under the second its epochs would be none."""
    monkeypatch.setattr(keras.config, name, lambda: 1, raising=False)
    with pytest.raises(InputError, match=f"unset KERAS_{name.upper()}"):
        training.fit_run(new_trainer(), IMAGES, verbose=0)
    monkeypatch.delattr(keras.config, name)  # as in Keras 3.8
    training._refuse_limits_of_keras()


@pytest.mark.slow
def test_history_and_samples_are_written(tmp_path):
    (tmp_path / "run").mkdir()
    trainer = new_trainer(TINY.replace(train={"epochs": 2}))
    grid = training.SampleGrid(tmp_path / "run", 3, num_images=2)
    training.fit_run(trainer, IMAGES, [*callbacks(tmp_path / "run"), grid], verbose=0)
    lines = (tmp_path / "run/history.csv").read_text().splitlines()
    assert lines[0] == "epoch,step,loss,loss_q1,loss_q2,loss_q3,loss_q4"
    assert [line.split(",")[:2] for line in lines[1:]] == [["1", "3"], ["2", "6"]]
    assert (tmp_path / "run/loss.png").stat().st_size > 5000
    assert sorted(path.name for path in (tmp_path / "run/samples").iterdir()) == ["epoch_1.png", "epoch_2.png"]


@pytest.mark.slow
def test_training_learns_a_distribution_of_one_image():
    """After a few hundred steps on a single constant image, DDIM from any noise comes close to it."""
    from ddpm_lib.sampling import ddim_sample, noise_per_image

    unet = UNetConfig(8, 1, (16, 32), 1, heads=2, attention_dim=8, time_dim=32)
    settings = {"epochs": 1, "steps_per_epoch": 400, "batch_size": 32, "learning_rate": 3e-3, "warmup_steps": 10}
    config = RunConfig(unet=unet).replace(train={**settings, "ema_decay": 0.98})
    picture = np.zeros((8, 8, 1), np.uint8)
    picture[2:6, 2:6] = 255
    trainer = new_trainer(config)
    training.fit_run(trainer, np.repeat(picture[None], 32, axis=0), verbose=0)
    x_T = noise_per_image(range(4), (8, 8, 1))(-1)
    x_0 = numpy(ddim_sample(trainer.predict_noise, trainer.schedule, x_T, num_steps=25))
    assert np.abs(x_0 - (picture / 127.5 - 1)).mean() < 0.1


def test_a_trainer_of_v_weighs_the_error_of_v_and_books_that_of_the_noise():
    config = TINY.replace(diffusion={"kind": "cosine", "prediction": "v"}, train={"min_snr_gamma": 5.0})
    trainer = new_trainer(config)
    generator = np.random.default_rng(1)
    t = np.array([10, 300, 600, 999], "int32")
    x_0, noise, v_pred = generator.standard_normal((3, 4, 8, 8, 1)).astype("float32")
    alpha_bar = trainer.schedule.alpha_bars[t].reshape(-1, 1, 1, 1)
    target = np.sqrt(alpha_bar) * noise - np.sqrt(1 - alpha_bar) * x_0
    loss = float(numpy(trainer.compute_loss(x_0, y_pred=(t, target.astype("float32"), v_pred))))
    x_t = np.sqrt(alpha_bar) * x_0 + np.sqrt(1 - alpha_bar) * noise
    noise_pred = np.sqrt(1 - alpha_bar) * x_t + np.sqrt(alpha_bar) * v_pred
    x_0_pred = np.sqrt(alpha_bar) * x_t - np.sqrt(1 - alpha_bar) * v_pred
    # Hang et al. (2023): the error of x_0, weighted by min(SNR, 5).
    by_hand = np.minimum(alpha_bar / (1 - alpha_bar), 5) * (x_0_pred - x_0) ** 2
    assert loss == pytest.approx(by_hand.mean(), rel=1e-5)
    np.testing.assert_allclose(
        numpy(trainer.loss_sums.value), np.mean((noise_pred - noise) ** 2, axis=(1, 2, 3)), rtol=1e-4
    )
    # What `call` hands over is what `compute_loss` was given by hand.
    trainer.restore_randomness()
    t, target, _ = trainer(x_0)
    trainer.restore_randomness()
    assert np.array_equal(numpy(keras.random.randint((4,), 0, 1000, seed=trainer.seed_generator)), numpy(t))
    noise = numpy(keras.random.normal(x_0.shape, seed=trainer.seed_generator))
    alpha_bar = trainer.schedule.alpha_bars[numpy(t)].reshape(-1, 1, 1, 1)
    by_hand = np.sqrt(alpha_bar) * noise - np.sqrt(1 - alpha_bar) * x_0
    assert np.abs(numpy(target) - by_hand).max() < 1e-5
