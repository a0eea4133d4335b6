"""The state of an interrupted run, in one file that is replaced as a whole."""

import json
import os

import keras
import numpy as np

_NAME = "two_phase.npz"


class Backup(keras.callbacks.Callback):
    """Saves all variables and the state of the run at the end of each epoch.

    Keras' `BackupAndRestore` does not save the states of random seeds, so that
    dropout would differ after it.

    Args:
        directory: Where the file is.
        state: Function that returns what to save beside the variables, as JSON
            takes it, given whether the phase is at its end.
    """

    def __init__(self, directory, state):
        super().__init__()
        self._directory = directory
        self._state = state

    def on_epoch_end(self, epoch, logs=None):
        self._save(False)

    def on_train_end(self, logs=None):
        # Now what other callbacks do at the end, such as to restore the best
        # weights, has been done.
        self._save(True)

    def _save(self, finished):
        os.makedirs(self._directory, exist_ok=True)
        arrays = {
            str(i): _storable(keras.ops.convert_to_numpy(v))
            for i, v in enumerate(_variables(self.model))
        }
        path = os.path.join(self._directory, _NAME)
        with open(path + ".new", "wb") as file:
            np.savez(file, state=json.dumps(self._state(finished)), **arrays)
        os.replace(path + ".new", path)


def load(directory):
    """Returns the saved state and variables, or None if there is no backup."""
    path = os.path.join(directory, _NAME)
    if not os.path.exists(path):
        return None
    with np.load(path) as file:
        count = len(file.files) - 1
        return json.loads(str(file["state"])), [file[str(i)] for i in range(count)]


def delete(directory):
    """Deletes the backup, and the directory if nothing else is in it."""
    path = os.path.join(directory, _NAME)
    if os.path.exists(path):
        os.remove(path)
        if not os.listdir(directory):
            os.rmdir(directory)


def restore(model, arrays):
    """Gives a compiled model the variables that were saved."""
    model.optimizer.build(model.trainable_variables)
    variables = _variables(model)
    shapes = [tuple(v.shape) for v in variables]
    if shapes != [a.shape for a in arrays]:
        raise ValueError(
            "The backup is of another model or optimizer. Received: "
            f"{len(arrays)} arrays for {len(variables)} variables, or other shapes"
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def _variables(model):
    return [*model.variables, *model.optimizer.variables]


def _storable(array):
    # NumPy's files do not know bfloat16, which float32 holds exactly.
    return array if array.dtype.kind in "biuf" else array.astype("float32")
