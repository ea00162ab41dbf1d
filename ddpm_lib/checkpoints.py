"""Checkpoints: a whole run in one `.keras` file, or what sampling needs in one small `.npz` file.

Either is whole or not there. The `.npz` file has the EMA weights as float16 arrays, named by their paths in the
network, and `about`, a JSON text of configuration, step and history. NumPy alone can read it, without pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from ddpm_lib import distribution
from ddpm_lib.config import InputError, RunConfig
from ddpm_lib.diffusion import noise_predictor
from ddpm_lib.files import CannotWrite, user_path, whole_or_not_at_all
from ddpm_lib.hardware import compiled
from ddpm_lib.schedules import NoiseSchedule, build_schedule
from ddpm_lib.stopping import after_divergence, all_variables, finite_divergence, newest_file, not_finite
from ddpm_lib.training import DiffusionTrainer
from ddpm_lib.unet import build_unet
from ddpm_lib.vetting import ABOUT, checked_weights, damage_in_one_line, is_exported, read_about

EPOCH_FILE = re.compile(r"unet_epoch_(\d+)\.keras")
LATEST = "latest.keras"

# Where the project's own models lie: in an installed package, and in a clone.
SHIPPED_FOLDERS = (
    pathlib.Path(__file__).parent / "shipped",
    pathlib.Path(__file__).parents[1] / "data" / "checkpoints",
)


class LoadedModel(NamedTuple):
    """A trained model, ready to sample from."""

    predict_noise: Callable  # (x_t (B, H, W, C) float32, t (B,) int32) -> (B, H, W, C) float32, by the EMA weights
    network: keras.Model  # the same weights, as a Keras model of [x_t, t] that predicts what the configuration says
    schedule: NoiseSchedule
    config: RunConfig
    step: int = 0  # optimizer steps it was trained for
    rows: Sequence[dict] = ()  # history of its whole epochs, see `ddpm_lib.training.DiffusionTrainer.finish_epoch`

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the images it makes."""
        unet = self.config.unet
        return unet.image_size, unet.image_size, unet.channels


def save(trainer: DiffusionTrainer, path: str | os.PathLike) -> None:
    """Write network, EMA, optimizer, counters, history and configuration to one file, whole or not at all.

    Raises:
        InputError: if the state is not finite: no file is ever replaced by one that is worth nothing.
    """
    path = user_path(path)
    if broken := not_finite(all_variables(trainer)):
        raise InputError(
            f"after step {trainer.step} {broken} is not finite, and nothing was saved: "
            + after_divergence(trainer, path.parent)
        )
    with whole_or_not_at_all(path) as temporary, distribution.alone():
        trainer.save(temporary)


def export(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Write what sampling needs into one small file: EMA weights in float16, configuration, step and history.

    The paths of the training data are left out: they say something about a machine, and nothing about the model.

    Args:
        source: anything that `load` takes, such as a checkpoint written in training.
        target: the file to write, ending in `.npz`.

    Raises:
        InputError: if the source cannot be loaded, the target has another ending, or a weight is beyond float16.
    """
    target = user_path(target)
    if target.suffix != ".npz":
        raise InputError(f"an exported file ends in .npz, and {target} does not")
    model = load(source)
    config = model.config.replace(data={"data_dir": None, "cache_dir": None})
    about = json.dumps({"config": config.to_dict(), "step": model.step, "rows": model.rows})
    with np.errstate(over="ignore"):
        weights = {w.path: keras.ops.convert_to_numpy(w.value).astype("float16") for w in model.network.weights}
    for name, weight in weights.items():
        if not np.isfinite(weight).all():
            raise InputError(f"{source} cannot be exported: {name} holds numbers beyond float16 (65,504)")
    with whole_or_not_at_all(target) as temporary:
        np.savez(temporary, **{ABOUT: np.array(about.encode())}, **weights)


def shipped_models() -> dict[str, dict[str, Any]]:
    """Return the manifest of the models that come with the project: by name, where the file is and how it was made.

    Each entry has the "path" of its file beside what `data/checkpoints/manifest.json` says. Empty where the library was
    installed without them.
    """
    for folder in SHIPPED_FOLDERS:
        if (folder / "manifest.json").is_file():
            manifest = json.loads((folder / "manifest.json").read_text("utf8"))
            return {name: {**entry, "path": folder / entry["file"]} for name, entry in manifest.items()}
    return {}


def _find(path):
    """Turn the name of a shipped model into the path of its file, which is as it was shipped; check any other path."""
    models = shipped_models()
    if (name := os.fspath(path)) in models:
        path = models[name]["path"]
        if not path.is_file() or _sha256(path) != models[name]["sha256"]:
            raise InputError(f"{path} is not the file that was shipped as {name}: restore it from the repository")
        return path
    path = user_path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a file in it, such as {path / LATEST}")
    if not path.is_file():
        names = " or ".join(models) or "missing from this installation"
        raise InputError(f"there is no checkpoint {path} (the models that come with the project are {names})")
    if not zipfile.is_zipfile(path):
        if path.suffix in (".h5", ".hdf5"):
            raise InputError(f"{path} has weights only: name the .keras file of a run, or an .npz file of ddpm export")
        raise InputError(f"{path} is not a checkpoint, or only a part of one; use an earlier one")
    return path


def _read(path):
    """Read what a file says about itself, and refuse one that has not the ending of its kind: others go by that."""
    about = read_about(path)
    if path.suffix != (".keras" if about["step"] is None else ".npz"):
        raise InputError(f"{path} must have its ending back: .keras for a whole run, .npz for an exported file")
    return about


def resume(path: str | os.PathLike, config: RunConfig | None = None) -> DiffusionTrainer:
    """Read a run back, ready to be continued by `ddpm_lib.training.fit_run`.

    A checkpoint written in training goes on as if nothing had happened. Of an exported file or a shipped model only the
    averaged weights, the step and the history are left: the optimizer starts anew, with its warm-up.

    Args:
        path: the file, or the name of a shipped model.
        config: of what follows, with the same network, schedule and prediction, and for a checkpoint written in
            training with the same precision; None for that of the file.

    Raises:
        InputError: if the file is missing, damaged, not a checkpoint of this library, or of a run that diverged, or if
            `config` is of another network, schedule or prediction.
    """
    path = _find(path)
    about = _read(path)
    for part in ("unet", "diffusion"):
        if config and getattr(config, part) != getattr(about["config"], part):
            raise InputError(f"the weights of {path} do not fit the configuration: its {part} is another one")
    if is_exported(path):
        trainer = DiffusionTrainer(config or about["config"], about["rows"])
        for network in (trainer.network, trainer.ema_network):
            _set_exported_weights(network, path)
        trainer.global_step.assign(about["step"])
    else:
        trainer = _load_trainer(path, config or about["config"], about["rows"])
    _refuse_not_finite(path, all_variables(trainer))
    trainer.resumed_from = path
    return trainer


def _set_exported_weights(network, path):
    with damage_in_one_line(path), np.load(path) as arrays:
        network.set_weights([arrays[weight.path].astype("float32") for weight in network.weights])


def _refuse_not_finite(path, variables):
    if broken := not_finite(variables):
        raise InputError(
            f"{path} is of a run that diverged ({broken} is not finite): use an earlier one, or train again"
        )


def _load_trainer(path, config, rows):
    """Build the trainer from what was checked, and give Keras the weights alone to read."""
    with checked_weights(path) as weights:
        trainer = DiffusionTrainer(config, rows)
        with damage_in_one_line(path), warnings.catch_warnings():
            warnings.filterwarnings("error", message="Skipping variable loading")  # Keras would go on without them
            trainer.load_weights(weights)
    if trainer.step < 0:
        raise InputError(f"{path} is not a checkpoint of this library: its step is {trainer.step}")
    return trainer


def digest(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a checkpoint, an exported file or a shipped model, by which processes compare theirs.

    Raises:
        InputError: if the file is missing.
    """
    return _sha256(_find(path))


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_config(path: str | os.PathLike) -> RunConfig:
    """Read only the configuration of a checkpoint, an exported file or a shipped model.

    Args:
        path: the file, or the name of a shipped model.

    Raises:
        InputError: if the file is missing, damaged, or not a checkpoint of this library.
    """
    return _read(_find(path))["config"]


def load(path: str | os.PathLike) -> LoadedModel:
    """Load a trained model for sampling, with its EMA weights, in float32.

    Of a run that diverged and stayed finite, a line on standard error says so.

    Args:
        path: a checkpoint written in training, an exported file, or the name of a model that comes with the project,
            such as "digits".

    Returns:
        `predict_noise`, `network`, `schedule`, `config`, and the `step` and `rows` of its training.

    Raises:
        InputError: if the file is missing, damaged, not a checkpoint of this library, of a run that diverged, or, for
            a model that comes with the project, not the file that was shipped.
    """
    path = _find(path)
    about = _read(path)
    network = build_unet(about["config"].unet, "float32")
    if is_exported(path):
        _set_exported_weights(network, path)
        step = about["step"]
    else:
        trainer = _load_trainer(path, about["config"], about["rows"])
        network.set_weights(trainer.ema_network.get_weights())
        step = trainer.step
    _refuse_not_finite(path, network.weights)
    diffusion = about["config"].diffusion
    schedule = build_schedule(**diffusion.schedule)
    if diverged := finite_divergence(about["rows"], diffusion.prediction, schedule):
        print(f"{path}: {diverged}", file=sys.stderr)
    network.trainable = False
    predict_noise = noise_predictor(diffusion.prediction, schedule, compiled(network))
    return LoadedModel(predict_noise, network, schedule, about["config"], step, about["rows"])


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
        if min(per_epoch, keep, every) < 1:
            raise InputError(f"per_epoch, keep and every must be at least 1, got {per_epoch}, {keep} and {every}")
        self.folder, self.per_epoch, self.keep, self.every = user_path(folder), per_epoch, keep, every
        self.step, self.writes = None, True

    def on_train_begin(self, logs=None):
        """Note where training starts, and remove what a killed save left behind."""
        self.step = self.model.step
        self.writes = distribution.writes_files()
        if self.writes:
            for leftover in self.folder.glob(".*.tmp.keras"):
                leftover.unlink(missing_ok=True)

    def on_train_batch_begin(self, batch, logs=None):
        """Save every few steps, but not at the end of an epoch, which saves for itself."""
        # Counted here: asking the model would make JAX hand over its state at every step.
        if self.writes and self.step % self.every == 0 and self.step % self.per_epoch:
            self._save(self.folder / LATEST)
        self.step += 1

    def on_epoch_end(self, epoch, logs=None):
        """Save a whole epoch under its number, or a part of one as the latest state."""
        if not self.writes:
            return
        if self.step < (epoch + 1) * self.per_epoch:
            self._save(self.folder / LATEST)
            return
        path = self.folder / f"unet_epoch_{epoch + 1}.keras"
        self._save(path)
        self._link_latest(path)
        for number, old in epoch_files(self.folder):
            if number <= epoch + 1 - self.keep:
                old.unlink(missing_ok=True)

    def _save(self, path):
        """Save, or else save to where temporary files go: what hours have made is not lost with a folder."""
        try:
            save(self.model, path)
        except CannotWrite as error:
            try:
                # A folder of its own: another run may have been rescued at the same step.
                rescue = pathlib.Path(tempfile.mkdtemp(prefix="ddpm_")) / f"rescued_step_{self.step}.keras"
                save(self.model, rescue)
            except OSError:
                last = newest_file(self.folder) or self.model.resumed_from
                kept = f"go on with --resume {last}" if last else "no earlier state was saved"
                raise CannotWrite(f"{error}; make room there, then {kept}") from error
            raise CannotWrite(
                f"{error}; the state was saved to {rescue}: go on with --resume {rescue} and another --out"
            ) from error

    def _link_latest(self, path):
        """Give the new file a second name, without writing it twice where the file system has links."""
        temporary = self.folder / f".latest.{os.getpid()}.tmp.keras"
        try:
            os.link(path, temporary)
            os.replace(temporary, self.folder / LATEST)
        except OSError:
            self._save(self.folder / LATEST)


def epoch_files(folder: str | os.PathLike) -> list[tuple[int, pathlib.Path]]:
    """List the epoch checkpoints of a run folder with their numbers, oldest first."""
    found = [(EPOCH_FILE.fullmatch(path.name), path) for path in pathlib.Path(folder).glob("unet_epoch_*.keras")]
    return sorted((int(match[1]), path) for match, path in found if match)
