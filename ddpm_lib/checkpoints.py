"""Checkpoints: one `.keras` file holds a whole run, and is either whole or not there."""

from __future__ import annotations

import json
import os
import pathlib
import re
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import keras

from ddpm_lib.config import InputError, RunConfig
from ddpm_lib.hardware import compiled
from ddpm_lib.schedules import NoiseSchedule
from ddpm_lib.training import DiffusionTrainer
from ddpm_lib.unet import build_unet

EPOCH_FILE = re.compile(r"unet_epoch_(\d+)\.keras")
LATEST = "latest.keras"


class LoadedModel(NamedTuple):
    """A trained model, ready to sample from."""

    predict_noise: Callable  # (x_t (B, H, W, C) float32, t (B,) int32) -> (B, H, W, C) float32, by the EMA weights
    network: keras.Model  # the same weights, as a Keras model of [x_t, t]
    schedule: NoiseSchedule
    config: RunConfig

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the images it makes."""
        unet = self.config.unet
        return unet.image_size, unet.image_size, unet.channels


def save(trainer: DiffusionTrainer, path: str | os.PathLike) -> None:
    """Write network, EMA, optimizer, counters, history and configuration to one file.

    The file is written under another name, flushed to the disk and then renamed: a crash leaves the old file or the
    new one, never a part.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp.keras")
    try:
        trainer.save(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def resume(path: str | os.PathLike) -> DiffusionTrainer:
    """Read a run back, ready to be continued by `ddpm_lib.training.fit_run`.

    Raises:
        InputError: if the file is missing, damaged, or not a checkpoint of this library.
    """
    read_config(path)
    try:
        return keras.saving.load_model(path)
    except InputError:
        raise
    except Exception as error:
        # Keras, zipfile and h5py raise a dozen kinds of errors on damaged archives.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path} is damaged and cannot be loaded ({reason}); use an earlier checkpoint") from error


def read_config(path: str | os.PathLike) -> RunConfig:
    """Read only the configuration of a checkpoint.

    Raises:
        InputError: if the file is missing, damaged, or not a checkpoint of this library.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is not a .keras file, or only a part of one; use an earlier checkpoint")
    try:
        with zipfile.ZipFile(path) as archive:
            content = json.loads(archive.read("config.json"))
        if content["class_name"] != DiffusionTrainer.__name__:
            raise KeyError
        return RunConfig.from_dict(content["config"]["config"])
    except InputError as error:
        raise InputError(f"{path} holds a configuration that this version cannot read: {error}") from error
    except Exception as error:
        # zipfile, zlib and json raise a dozen kinds of errors on whatever else calls itself a zip archive.
        raise InputError(f"{path} is not a checkpoint of this library") from error


def load(path: str | os.PathLike) -> LoadedModel:
    """Load a trained model for sampling, with its EMA weights, in float32.

    Args:
        path: a checkpoint written in training.

    Returns:
        `predict_noise`, `network`, `schedule` and `config`.

    Raises:
        InputError: if the file is missing, damaged, or not a checkpoint of this library.
    """
    trainer = resume(path)
    network = build_unet(trainer.run.unet, "float32")
    network.set_weights(trainer.ema_network.get_weights())
    network.trainable = False
    return LoadedModel(compiled(network), network, trainer.schedule, trainer.run)


class SaveCheckpoints(keras.callbacks.Callback):
    """Saves `unet_epoch_N.keras` after every whole epoch, and `latest.keras` then and every few steps.

    Args:
        folder: the run folder.
        per_epoch: steps of a whole epoch.
        keep: how many epoch files stay; older ones are removed.
        every: steps between saves of `latest.keras` within an epoch.
    """

    def __init__(self, folder: str | os.PathLike, per_epoch: int, keep: int = 3, every: int = 1000):
        super().__init__()
        self.folder, self.per_epoch, self.keep, self.every = pathlib.Path(folder), per_epoch, keep, every
        self.step = None

    def on_train_begin(self, logs=None):
        """Note where training starts, and remove what a killed save left behind."""
        self.step = self.model.step
        for leftover in self.folder.glob(".*.tmp.keras"):
            leftover.unlink(missing_ok=True)

    def on_train_batch_end(self, batch, logs=None):
        """Save every few steps, but not at the end of an epoch, which saves for itself."""
        # Counted here: asking the model would make JAX hand over its state at every step.
        self.step += 1
        if self.step % self.every == 0 and self.step % self.per_epoch:
            save(self.model, self.folder / LATEST)

    def on_epoch_end(self, epoch, logs=None):
        """Save a whole epoch under its number, or a part of one as the latest state."""
        if self.step < (epoch + 1) * self.per_epoch:
            save(self.model, self.folder / LATEST)
            return
        path = self.folder / f"unet_epoch_{epoch + 1}.keras"
        save(self.model, path)
        self._link_latest(path)
        for number, old in epoch_files(self.folder):
            if number <= epoch + 1 - self.keep:
                old.unlink()

    def _link_latest(self, path):
        """Give the new file a second name, without writing it twice where the file system has links."""
        temporary = self.folder / f".latest.{os.getpid()}.tmp.keras"
        try:
            os.link(path, temporary)
            os.replace(temporary, self.folder / LATEST)
        except OSError:
            save(self.model, self.folder / LATEST)


def epoch_files(folder: str | os.PathLike) -> list[tuple[int, pathlib.Path]]:
    """List the epoch checkpoints of a run folder with their numbers, oldest first."""
    found = [(EPOCH_FILE.fullmatch(path.name), path) for path in pathlib.Path(folder).glob("unet_epoch_*.keras")]
    return sorted((int(match[1]), path) for match, path in found if match)
