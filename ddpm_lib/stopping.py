"""When training must stop: it was asked to (Ctrl-C), or its numbers are finite no more."""

from __future__ import annotations

import os
import pathlib
import signal

import keras
import numpy as np
from keras import ops


class FinishStepOnInterrupt(keras.callbacks.Callback):
    """Lets Ctrl-C end training after the step under way, with a whole state to save; a second one ends at once.

    Used in a `with` statement, so that the signal is given back also when training fails.

    Like all callbacks here it does without `on_train_batch_end`: with it, Keras reads the loss after every step, and a
    GPU stands idle until the next one is sent.
    """

    def __init__(self):
        super().__init__()
        self.happened = False

    def __enter__(self):
        try:
            self.previous = signal.signal(signal.SIGINT, self._handle)
        except ValueError:  # not the main thread: signals are somebody else's
            self.previous = None
        return self

    def __exit__(self, *error):
        if self.previous is not None:
            signal.signal(signal.SIGINT, self.previous)

    def _handle(self, number, frame):
        if self.happened:
            raise KeyboardInterrupt
        self.happened = True
        if self._model is not None:  # `fit` has begun
            self._model.stop_training = True

    def on_train_batch_begin(self, batch, logs=None):
        """Stop after this step if asked to while `fit` was still preparing it."""
        if self.happened:
            self._model.stop_training = True


def not_finite(variables) -> str | None:
    """Return the path of the first of some Keras variables that holds an infinity or no number at all, or None."""
    for variable in variables:
        if "float" in variable.dtype and not np.isfinite(ops.convert_to_numpy(variable.value)).all():
            return variable.path
    return None


def all_variables(trainer) -> list:
    """Return every variable that a checkpoint holds: of the networks, the optimizer, and the books of the epoch."""
    return [*trainer.variables, *trainer.optimizer.variables]


def after_divergence(trainer, folder: str | os.PathLike) -> str:
    """Say what is left of a run whose numbers are finite no more, and what to do.

    A run repeats itself from any of its checkpoints, so going on from one does not help.
    """
    files = sorted(pathlib.Path(folder).glob("*.keras"), key=lambda path: path.stat().st_mtime_ns)
    kept = f"the last good file is {files[-1]}" if files else "no earlier state was saved"
    half = trainer.run.train.precision == "mixed_float16"
    return f"{kept}; start a new run with --lr below {trainer.run.train.learning_rate:g}" + (
        " or with --precision float32" if half else ""
    )
