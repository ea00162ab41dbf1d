"""When training must stop: it was asked to (Ctrl-C, the system), or its numbers are finite no more."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import stat

import keras
import numpy as np
from keras import ops

from ddpm_lib.diffusion import noise_error_factors
from ddpm_lib.schedules import NoiseSchedule

# Give or take the chance of a short epoch.
WORSE_THAN_UNTRAINED = 1.2


class FinishStepOnInterrupt(keras.callbacks.Callback):
    """Lets Ctrl-C end training after the step under way, with a whole state to save; a second one ends at once.

    So do SIGTERM, which `docker stop` and batch systems send, and SIGHUP, which comes when a terminal goes away (not
    under `nohup`).

    Used in a `with` statement, so that the signals are given back also when training fails.

    Like all callbacks here it does without `on_train_batch_end`: with it, Keras reads the loss after every step, and a
    GPU stands idle until the next one is sent.
    """

    def __init__(self):
        super().__init__()
        self.happened = False
        self.previous = {}

    def __enter__(self):
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the last is unknown on Windows
            number = getattr(signal, name, None)
            if number is None or (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):
                continue
            with contextlib.suppress(ValueError):  # not the main thread: signals are somebody else's
                self.previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error):
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _handle(self, number, frame):
        if number == getattr(signal, "SIGHUP", None):
            _forget_terminal()
        if self.happened:
            raise KeyboardInterrupt
        self.happened = True
        if self._model is not None:  # `fit` has begun
            self._model.stop_training = True

    def on_train_batch_begin(self, batch, logs=None):
        """Stop after this step if asked to while `fit` was still preparing it."""
        if self.happened:
            self._model.stop_training = True


def _forget_terminal():
    """Let what is still printed go nowhere: writing to a terminal that is gone would be an error."""
    for descriptor in (1, 2):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):  # isatty denies it of a terminal that is gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def not_finite(variables) -> str | None:
    """Return the path of the first of some Keras variables that holds an infinity or no number at all, or None."""
    for variable in variables:
        # `[...]`: TensorFlow makes no array of a single number that several devices hold.
        if "float" in variable.dtype and not np.isfinite(ops.convert_to_numpy(variable.value[...])).all():
            return variable.path
    return None


def all_variables(trainer) -> list:
    """Return every variable that a checkpoint holds: of the networks, the optimizer, and the books of the epoch."""
    return [*trainer.variables, *trainer.optimizer.variables]


def newest_file(folder: str | os.PathLike) -> pathlib.Path | None:
    """Return the checkpoint of a run folder that was written last, or None."""
    files = pathlib.Path(folder).glob("[!.]*.keras")
    return max(files, key=lambda path: (path.stat().st_mtime_ns, path.name == "latest.keras"), default=None)


def after_divergence(trainer, folder: str | os.PathLike) -> str:
    """Say what is left of a run whose numbers are finite no more, and what to do.

    A run repeats itself from any of its checkpoints, so going on from one does not help.
    """
    last = newest_file(folder) or trainer.resumed_from
    kept = f"the last good file is {last}" if last else "no earlier state was saved"
    half = trainer.run.train.precision == "mixed_float16"
    return f"{kept}; start a new run with --lr below {trainer.run.train.learning_rate:g}" + (
        " or with --precision float32" if half else ""
    )


def finite_divergence(rows: list[dict], prediction: str, schedule: NoiseSchedule) -> str | None:
    """Say of a history how bad its end is where the run diverged and its numbers stayed finite, or return None.

    The last row alone counts: what grows at first may still come down. An untrained network answers zeros. What it
    predicts has the mean square 1 (for v: at most, if the images lie in [-1, 1]), and the loss is that of the noise.
    """
    untrained = noise_error_factors(prediction, schedule).mean()
    if not rows or rows[-1]["loss"] <= WORSE_THAN_UNTRAINED * untrained:
        return None
    return (
        f"the run has diverged: its loss is {rows[-1]['loss']:.4g}, and that of an untrained network is {untrained:.2g}"
    )
