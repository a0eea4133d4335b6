"""All that a training run has in its variables, and the file of a run that stopped."""

import hashlib
import json
import os

import keras
import numpy as np

from tf_genbounds.bounds.result import to_plain

_NAME = "pick_to_learn.npz"
_RANDOM = 4  # What a seed is for: a stream of random numbers.


def variables(model):
    """Returns the variables that decide how training goes on."""
    return [*model.variables, *model.optimizer.variables]


def values(variables):
    """Returns copies of variables as arrays that a file of NumPy can hold."""
    found = [np.array(keras.ops.convert_to_numpy(v)) for v in variables]
    # It does not know bfloat16, which float32 holds exactly.
    return [a if a.dtype.kind in "biuf" else a.astype("float32") for a in found]


def assign(variables, arrays):
    """Gives variables the values of arrays.

    Raises:
        ValueError: If their shapes are others.
    """
    shapes = [tuple(v.shape) for v in variables]
    if shapes != [a.shape for a in arrays]:
        raise ValueError(
            "These are the variables of another model or optimizer. Received: "
            f"{len(arrays)} arrays for {len(variables)} variables, or other shapes"
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def digest(model, arrays):
    """Returns a digest of what the variables of a model that are weights would be."""
    weights = {id(v) for v in model.weights}
    found = hashlib.sha256()
    for variable, array in zip(model.variables, arrays, strict=True):
        if id(variable) in weights:  # Random states are seeded by each run.
            found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def seed_layers(model, seed):
    """Gives dropout and random layers states that depend on the seed alone."""
    weights = {id(v) for v in model.weights}
    random = [v for v in model.variables if id(v) not in weights]
    generator = np.random.default_rng([seed, _RANDOM])
    for variable in random:
        if "int" in str(variable.dtype):
            variable.assign(generator.integers(0, 2**31, variable.shape))


def save(directory, state, arrays):
    """Writes a state, as JSON takes it, and arrays, replacing the file as a whole."""
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, _NAME)
    numbered = {str(i): array for i, array in enumerate(arrays)}
    with open(path + ".new", "wb") as file:
        np.savez(file, state=json.dumps(to_plain(state)), **numbered)
    os.replace(path + ".new", path)


def load(directory):
    """Returns the saved state and arrays, or `None` if there is no file."""
    path = os.path.join(directory, _NAME)
    if not os.path.exists(path):
        return None
    with np.load(path) as file:
        count = len(file.files) - 1
        return json.loads(str(file["state"])), [file[str(i)] for i in range(count)]


def delete(directory):
    """Deletes the file, and the directory if nothing else is in it."""
    path = os.path.join(directory, _NAME)
    if os.path.exists(path):
        os.remove(path)
        if not os.listdir(directory):
            os.rmdir(directory)
