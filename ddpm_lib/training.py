"""Training: Algorithm 1 of Ho et al. (2020) as a `keras.Model`, with an average of its weights.

Everything random is a function of (seed, global step), so that a resumed run repeats what an uninterrupted one does.
"""

from __future__ import annotations

import contextlib
import csv
import math
import os
import sys

import keras
import numpy as np
from keras import ops

from ddpm_lib import distribution, images
from ddpm_lib.config import InputError, RunConfig, TrainConfig
from ddpm_lib.data import Batches
from ddpm_lib.diffusion import add_noise, at, loss_weights, noise_error_factors, noise_predictor, prediction_target
from ddpm_lib.files import CannotWrite, user_path, whole_or_not_at_all
from ddpm_lib.hardware import compiled, must_compile
from ddpm_lib.sampling import ddim_sample, noise_per_image
from ddpm_lib.schedules import build_schedule
from ddpm_lib.stopping import FinishStepOnInterrupt, after_divergence
from ddpm_lib.unet import build_unet, register

# The loss is also kept by quarter of the schedule: quarter 1 is nearly clean images, quarter 4 nearly pure noise.
NUM_QUARTERS = 4


@register
class DiffusionTrainer(keras.Model):
    """Fits a U-Net to the noise (or v) in x_t, and keeps an exponential moving average (EMA) of its weights.

    Ho et al. (2020), Algorithm 1 and Eq. 14. `fit` it on x_0 (B, H, W, C) float32 in [-1, 1], or call `fit_run`.

    Args:
        config: the whole run, as `RunConfig` or as the dictionary it turns into.
        rows: the history of the epochs behind it, for a trainer that is read back from a file.
    """

    def __init__(self, config: RunConfig | dict, rows: list[dict] | None = None, **kwargs):
        with distribution.scope():
            # Images stay float32 here; the network casts for itself.
            super().__init__(**{"name": "ddpm", **kwargs, "autocast": False})
            self.run = config if isinstance(config, RunConfig) else RunConfig.from_dict(config)
            self.rows = list(rows or [])
            self.resumed_from = None  # the file it was read back from
            self.schedule = build_schedule(**self.run.diffusion.schedule)
            self.network = build_unet(self.run.unet, self.run.train.precision, self.run.train.rematerialize)
            self.ema_network = build_unet(self.run.unet, self.run.train.precision)
            self.ema_network.trainable = False
            self.ema_network.set_weights(self.network.get_weights())
            self.predict_noise = noise_predictor(
                self.run.diffusion.prediction, self.schedule, compiled(self.ema_network)
            )

            self.seed_generator = keras.random.SeedGenerator(self.run.train.seed)
            self.global_step = self._counter("global_step", (), "int32")
            self.loss_sums = self._counter("loss_sums", (NUM_QUARTERS,), "float32")
            self.loss_counts = self._counter("loss_counts", (NUM_QUARTERS,), "float32")

            self.compile(make_optimizer(self.run.train), jit_compile=self.run.train.jit or must_compile())
            self.optimizer.build(self.network.trainable_variables)
            self.built = True

    def _counter(self, name, shape, dtype):
        return self.add_weight(shape=shape, initializer="zeros", dtype=dtype, trainable=False, name=name)

    def call(self, x_0, training=False):
        """Draw a step and noise for every image, and predict the noise or v: Algorithm 1, lines 2 to 5."""
        # Where x_0 is one device's share of a batch, all devices draw for the whole batch, and each takes its rows.
        index, shares = distribution.replica()
        size, *shape = ops.shape(x_0)
        t = keras.random.randint((size * shares,), 0, self.schedule.num_steps, "int32", seed=self.seed_generator)
        noise = keras.random.normal((size * shares, *shape), dtype="float32", seed=self.seed_generator)
        if shares > 1:
            own = slice(index * size, (index + 1) * size)
            t, noise = t[own], noise[own]
        target = prediction_target(self.run.diffusion.prediction, self.schedule, x_0, t, noise)
        return t, target, self.network([add_noise(self.schedule, x_0, t, noise), t], training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the weighted mean squared error of the prediction, and book L_simple by quarter of the schedule.

        L_simple (Eq. 14) is the mean squared error of the noise. Where the network predicts v it is that of the noise
        which v implies, so that runs of both kinds have comparable histories.
        """
        t, target, predicted = y_pred
        errors = ops.mean(ops.square(target - predicted), axis=(1, 2, 3))
        prediction = self.run.diffusion.prediction
        noise_errors = ops.stop_gradient(errors) * at(noise_error_factors(prediction, self.schedule), t, errors)
        quarters = ops.one_hot(t * NUM_QUARTERS // self.schedule.num_steps, NUM_QUARTERS, dtype="float32")
        booked = [ops.sum(quarters * noise_errors[:, None], axis=0), ops.sum(quarters, axis=0)]
        sums, counts = distribution.summed(booked)
        self.loss_sums.assign_add(sums)
        self.loss_counts.assign_add(counts)
        loss = ops.mean(errors * at(loss_weights(prediction, self.schedule, self.run.train.min_snr_gamma), t, errors))
        # Several devices return parts of the mean over the whole batch, which Keras sums up.
        _, shares = distribution.replica()
        return loss / shares if shares > 1 else loss

    def make_train_function(self, force=False):
        """Make what `fit` calls for every step, as Keras does but for several devices on TensorFlow."""
        if force or self.train_function is None:
            self.train_function = distribution.train_function(self)
        return super().make_train_function()

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Build nothing: the constructor did. Keras on TensorFlow would try with the first batch of several devices."""

    def train_step(self, *arguments):
        """Take one optimizer step as Keras does (with its loss scaling and clipping), then update the average."""
        if keras.backend.backend() != "jax":
            logs = super().train_step(*arguments)
            self.update_average()
            return logs
        # Keras on JAX passes all variables in and out as `state`, a tuple of four lists.
        logs, (trainable, non_trainable, *others) = super().train_step(*arguments)
        before = [
            *zip(self.trainable_variables, trainable, strict=True),
            *zip(self.non_trainable_variables, non_trainable, strict=True),
        ]
        with keras.StatelessScope(state_mapping=before) as scope:
            self.update_average()
        non_trainable = [scope.get_current_value(variable) for variable in self.non_trainable_variables]
        return logs, (trainable, non_trainable, *others)

    def update_average(self):
        """Count the step and move the EMA weights towards the network's."""
        decay = ema_decay_at(self.global_step.value, self.run.train.ema_decay)
        for average, weight in zip(self.ema_network.weights, self.network.weights, strict=True):
            # As a small move: decay * average + (1 - decay) * weight would round away a part of each step.
            average.assign(average.value + (1.0 - decay) * (weight.value - average.value))
        self.global_step.assign_add(1)

    @property
    def step(self) -> int:
        """Optimizer steps taken since the start of the run."""
        # `[...]`: TensorFlow makes no array of a single number that several devices hold.
        return int(ops.convert_to_numpy(self.global_step.value[...]))

    def restore_randomness(self) -> None:
        """Set every random state to what it is at the present step of an uninterrupted run."""
        step, seed = self.step, self.run.train.seed
        self.seed_generator.state.assign(np.array([seed, 2 * step], "uint32"))  # a step draws t, then the noise
        dropouts = [layer for layer in self.network._flatten_layers() if isinstance(layer, keras.layers.Dropout)]
        for number, layer in enumerate(dropouts, start=1):
            if layer.rate:
                layer.seed_generator.state.assign(np.array([(seed + number) % 2**32, step], "uint32"))

    def finish_epoch(self) -> dict:
        """Turn the booked losses into a row of the history and start new books.

        Returns:
            epoch, step, loss (mean over all images of the epoch), and loss_q1 .. loss_q4 by quarter of the schedule
            (nan where no image fell into a quarter).
        """
        sums = ops.convert_to_numpy(self.loss_sums.value).astype(np.float64)
        counts = ops.convert_to_numpy(self.loss_counts.value).astype(np.float64)
        with np.errstate(invalid="ignore"):
            by_quarter = {f"loss_q{i + 1}": float(value) for i, value in enumerate(sums / counts)}
        row = {"epoch": len(self.rows) + 1, "step": self.step, "loss": float(sums.sum() / counts.sum()), **by_quarter}
        self.rows.append(row)
        self.loss_sums.assign(np.zeros(NUM_QUARTERS, "float32"))
        self.loss_counts.assign(np.zeros(NUM_QUARTERS, "float32"))
        return row

    def get_config(self):
        """Return what rebuilds the trainer: the run and its history."""
        return {"config": self.run.to_dict(), "rows": self.rows}

    def get_compile_config(self):
        """Return nothing: the constructor compiles."""
        return None


@register
class LinearWarmup(keras.optimizers.schedules.LearningRateSchedule):
    """Raise the learning rate evenly over the first steps, then hold it, as in the code of Ho et al. (2020).

    Args:
        learning_rate: the final rate.
        warmup_steps: steps until it is reached; step k takes the share (k + 1) / warmup_steps of it.
    """

    def __init__(self, learning_rate: float, warmup_steps: int):
        self.learning_rate, self.warmup_steps = learning_rate, warmup_steps

    def __call__(self, step):
        """Return the rate of 0-based step `step`."""
        return self.learning_rate * ops.minimum(1.0, (ops.cast(step, "float32") + 1.0) / max(self.warmup_steps, 1))

    def get_config(self):
        """Return the arguments of the constructor."""
        return {"learning_rate": self.learning_rate, "warmup_steps": self.warmup_steps}


def make_optimizer(config: TrainConfig) -> keras.optimizers.Optimizer:
    """Build Adam with warm-up and clipping of the global gradient norm; under float16, with a scaled loss.

    Ho et al. (2020), appendix B, and their code. Small float16 gradients round to zero: the loss is multiplied before
    the backward pass, and the gradients are divided by the same factor before they are clipped and applied.
    """
    rate = LinearWarmup(config.learning_rate, config.warmup_steps)
    adam = keras.optimizers.Adam(rate, global_clipnorm=config.clip_norm)
    half = config.precision == "mixed_float16"
    return distribution.sum_before_clipping(keras.optimizers.LossScaleOptimizer(adam) if half else adam)


def ema_decay_at(step, max_decay: float):
    """Decay of the average after 0-based optimizer step `step`: min(max_decay, (1 + step) / (10 + step)).

    0.1 at first, 0.9 at step 80, 0.999 at step 8,990: without this warm-up, a decay of 0.9999 would still hold 37 % of
    the untrained weights after 10,000 steps.
    """
    step = ops.cast(step, "float32")
    return ops.minimum(max_decay, (1.0 + step) / (10.0 + step))


def steps_per_epoch(config: TrainConfig, num_images: int) -> int:
    """Return the optimizer steps of one epoch: as configured, or one pass over the full batches.

    Raises:
        InputError: if there are not enough images for one batch.
    """
    if config.batch_size > num_images:
        raise InputError(f"batch_size {config.batch_size} is more than the {num_images} images of the dataset")
    return config.steps_per_epoch or num_images // config.batch_size


def _refuse_limits_of_keras():
    """Refuse what cuts every `fit` short: a run would never come to its end, or count epochs that are none."""
    for name in ("max_epochs", "max_steps_per_epoch"):
        if limit := getattr(keras.config, name, lambda: None)():  # Keras 3.8 has no such limits
            raise InputError(
                f"Keras has a limit for debugging, {name} {limit}, under which no run is whole: unset "
                f"KERAS_{name.upper()}, or call keras.config.set_{name}(None)"
            )


def fit_run(trainer: DiffusionTrainer, images_uint8: np.ndarray, callbacks=(), verbose="auto") -> None:
    """Train from wherever the trainer is to the last epoch of its configuration.

    Args:
        trainer: new, or read back from a file, also from the middle of an epoch.
        images_uint8: (N, H, W, C) uint8.
        callbacks: Keras callbacks.
        verbose: as in `keras.Model.fit`.

    A run that diverges and stays finite comes to its end: its history shows it, and `ddpm train` refuses it then.

    Raises:
        InputError: if the images are not of the network's size and of type uint8, or fewer than one batch; if the batch
            or the network's dropout does not suit several devices (see `ddpm_lib.distribution.check_run`); if Keras is
            limited to fewer epochs or steps; or, from the callbacks of `ddpm train`, if a number is not finite.
    """
    _refuse_limits_of_keras()
    config, unet = trainer.run.train, trainer.run.unet
    expected = (unet.image_size, unet.image_size, unet.channels)
    if images_uint8.dtype != np.uint8 or images_uint8.shape[1:] != expected:
        found = f"{images_uint8.dtype} {images_uint8.shape}"
        raise InputError(f"images_uint8 must be uint8 (N, {', '.join(map(str, expected))}), got {found}")
    per_epoch = steps_per_epoch(config, len(images_uint8))
    distribution.check_run(config.batch_size, unet.dropout)
    with FinishStepOnInterrupt() as interrupt:
        while trainer.step < config.epochs * per_epoch and not interrupt.happened:
            epoch, done = divmod(trainer.step, per_epoch)
            trainer.restore_randomness()
            batches = Batches(
                images_uint8,
                config.batch_size,
                seed=config.seed,
                horizontal_flip=trainer.run.data.horizontal_flip,
                start_step=trainer.step,
                share=distribution.process(),
            )
            trainer.fit(
                distribution.feed(batches),
                # The rest of an epoch has fewer steps than the others, so it is a call of its own.
                epochs=epoch + 1 if done else config.epochs,
                initial_epoch=epoch,
                steps_per_epoch=per_epoch - done,
                shuffle=False,
                callbacks=[interrupt, *callbacks],
                verbose=verbose,
            )
    if interrupt.happened:
        raise KeyboardInterrupt


class History(keras.callbacks.Callback):
    """Writes `history.csv` and `loss.png` after every whole epoch, and stops a run whose loss is no number.

    Args:
        folder: the run folder.
        per_epoch: steps of a whole epoch.
    """

    def __init__(self, folder: str | os.PathLike, per_epoch: int):
        super().__init__()
        self.folder, self.per_epoch = user_path(folder), per_epoch

    def on_epoch_end(self, epoch, logs=None):
        """Close the books of the epoch if it is whole."""
        trainer = self.model
        if trainer.step < (epoch + 1) * self.per_epoch:
            return
        row = trainer.finish_epoch()
        if not math.isfinite(row["loss"]):
            where = f"in epoch {row['epoch']}, after step {row['step']}"
            raise InputError(f"the loss is {row['loss']} {where}: {after_divergence(trainer, self.folder)}")
        if not distribution.writes_files():
            return
        try:
            write_history(self.folder, trainer.rows)
        except CannotWrite as error:  # the checkpoint, which is saved next, has the history, too
            print(f"the history was not written: {error}", file=sys.stderr)


def write_history(folder: str | os.PathLike, rows: list[dict]) -> None:
    """Write `history.csv` and `loss.png` of the epochs so far into a run folder."""
    folder = user_path(folder)
    with whole_or_not_at_all(folder / "history.csv") as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with whole_or_not_at_all(folder / "loss.png") as temporary:
        loss_figure(rows).savefig(temporary, dpi=120)


def loss_figure(rows: list[dict]):
    """Draw the loss over the epochs, in all and by quarter of the schedule, on a logarithmic axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    epochs = [row["epoch"] for row in rows]
    marker = "o" if len(rows) < 30 else None
    # The colours of Okabe and Ito, which colour-blind readers can tell apart.
    for quarter, color in enumerate(["#56B4E9", "#009E73", "#E69F00", "#CC79A7"], start=1):
        name = f"quarter {quarter} of t" + {1: " (little noise)", 4: " (nearly all noise)"}.get(quarter, "")
        axes.plot(epochs, [row[f"loss_q{quarter}"] for row in rows], color=color, lw=1, label=name)
    axes.plot(epochs, [row["loss"] for row in rows], color="black", lw=2, marker=marker, ms=3, label="all steps")
    axes.set(xlabel="epoch", ylabel="mean squared error of the noise", yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    return figure


class SampleGrid(keras.callbacks.Callback):
    """Draws the same noise with DDIM in 25 steps after every whole epoch, into `samples/epoch_N.png`.

    Args:
        folder: the run folder.
        per_epoch: steps of a whole epoch.
        num_images: pictures in the grid; seeds 0 to num_images - 1.
    """

    def __init__(self, folder: str | os.PathLike, per_epoch: int, num_images: int = 16):
        super().__init__()
        if num_images < 1:
            raise InputError(f"num_images must be at least 1, got {num_images}")
        self.folder, self.per_epoch = user_path(folder) / "samples", per_epoch
        self.num_images = num_images

    def on_epoch_end(self, epoch, logs=None):
        """Sample with the averaged weights and save the grid, if the epoch is whole."""
        trainer = self.model
        if trainer.step < (epoch + 1) * self.per_epoch:
            return
        unet = trainer.run.unet
        shape = (unet.image_size, unet.image_size, unet.channels)
        x_T = noise_per_image(range(self.num_images), shape)(-1)
        num_steps = min(25, trainer.schedule.num_steps)
        x_0 = ops.convert_to_numpy(ddim_sample(trainer.predict_noise, trainer.schedule, x_T, num_steps=num_steps))
        if not distribution.writes_files():  # but all draw: on JAX they do so together
            return
        if np.isnan(x_0).any():  # of weights that are finite, but beyond what the network can work with
            where = f"in epoch {epoch + 1}, after step {trainer.step}"
            raise InputError(f"the samples are nan {where}: {after_divergence(trainer, self.folder.parent)}")
        with contextlib.suppress(OSError):  # writing will say what is wrong
            self.folder.mkdir(exist_ok=True)
        grid = images.make_grid(images.to_uint8(x_0))
        try:
            images.save_png(self.folder / f"epoch_{epoch + 1}.png", grid, scale=max(1, 96 // unet.image_size))
        except CannotWrite as error:  # the next save rescues the state, which with the folder may be lost
            print(f"the samples were not written: {error}", file=sys.stderr)
