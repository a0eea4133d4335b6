"""What the first phase of a run may depend on, beside its own samples."""

import dataclasses
import hashlib

import keras
import numpy as np

from tf_genbounds.bounds.result import Assumption
from tf_genbounds.data.reading import read
from tf_genbounds.keras_internals import layers_in

_CONSTANT = (
    keras.initializers.Constant,
    keras.initializers.Ones,
    keras.initializers.Zeros,
)


@dataclasses.dataclass
class Origin:
    """What a run can see of where the result of its first phase comes from.

    Its samples are others than those that are counted, and nothing of these may get in.

    Attributes:
        phase: String, what the first phase is called.
        others: String, what the samples are called that are counted.
        signs: List of sentences, why the model looks trained before the run.
        callbacks: List of the names of the user's callbacks in it.
        weighted: List of the kinds of weights that samples had there.
        validated: Whether there was validation data.
        shared: How many of its inputs are inputs that are counted.
        unread: Whether some of it could not be read a second time.
    """

    phase: str
    others: str
    signs: list = dataclasses.field(default_factory=list)
    callbacks: list = dataclasses.field(default_factory=list)
    weighted: list = dataclasses.field(default_factory=list)
    validated: bool = False
    shared: int = 0
    unread: bool = False

    def see_model(self, model):
        """Notes what says that `model` was trained."""
        self.signs = _union(self.signs, signs_of_training(model))

    def see_fit(self, inputs, *, callbacks, validation_data, class_weight, weights):
        """Notes what the first phase is given.

        Args:
            inputs: Those that are counted.
            callbacks: List of the user's callbacks, or `None`.
            validation_data: As for `fit`, or `None`.
            class_weight: As for `fit`, or `None`.
            weights: Whether the samples have weights.
        """
        names = [type(callback).__name__ for callback in callbacks or ()]
        self.callbacks = _union(self.callbacks, names)
        kinds = ["class weights"] * bool(class_weight) + ["sample weights"] * weights
        self.weighted = _union(self.weighted, kinds)
        if validation_data is None:
            return
        self.validated = True
        if isinstance(validation_data, list):
            validation_data = tuple(validation_data)
        try:
            others = read(validation_data)[0][0]
        except (TypeError, ValueError):  # A generator, or data without an end.
            self.unread = True
        else:
            self.shared = max(self.shared, count_shared(others, inputs))

    def assumptions(self):
        """Returns what has to hold, and what is known of it, as `Assumption`s."""
        signs = f" ({'; '.join(self.signs)})" if self.signs else ""
        found = [
            Assumption(
                f"the weights that the model came with{signs} do not depend on "
                f"{self.others}"
            ),
            Assumption.of(
                f"the callbacks of {self.phase} ({', '.join(self.callbacks)}) "
                f"do not depend on {self.others}"
                if self.callbacks
                else f"no callback of {self.phase} depends on {self.others}",
                None if self.callbacks else True,
            ),
            self._validation(),
            Assumption(
                "preprocessing (normalization statistics, constants in the network), "
                f"architecture and hyper-parameters do not depend on {self.others}"
            ),
        ]
        if self.weighted:
            kinds = " and ".join(self.weighted)
            found.append(
                Assumption(
                    f"the {kinds} of {self.phase} do not depend on {self.others}"
                )
            )
        return tuple(found)

    def copies(self, counted, seen):
        """Returns what has to hold of inputs that are in both parts: `Assumption`s.

        Args:
            counted: Nest of arrays, the inputs that are counted.
            seen: Nest of arrays, those of the first phase.
        """
        repeated = count_shared(counted, seen)
        if not repeated:
            return ()
        return (
            Assumption(
                f"the {repeated:,} inputs of {self.others} that {self.phase} has as "
                "well are independent draws, and no copies"
            ),
        )

    def _validation(self):
        if not self.validated:
            return Assumption(
                f"no validation data of {self.phase} depends on {self.others}",
                "checked",
            )
        if self.shared:
            return Assumption(
                f"no input of the validation data of {self.phase} is one of "
                f"{self.others} ({self.shared:,} are)",
                "failed",
            )
        seen = "it cannot be read again" if self.unread else "no input is in both"
        return Assumption(
            f"the validation data of {self.phase} does not depend on "
            f"{self.others} ({seen})"
        )


def signs_of_training(model):
    """Returns why a model looks as if it was trained: a list of sentences.

    There may be none for a trained model: random weights look like any others.
    """
    found = []
    optimizer = getattr(model, "optimizer", None)
    steps = 0 if optimizer is None else int(_array(optimizer.iterations))
    if steps:
        found.append(f"its optimizer has made {steps:,} steps")
    for layer in layers_in(model):
        changed = [name for name in _constants(layer) if _has_changed(layer, name)]
        if changed:
            found.append(f"the {changed[0]} of {layer.name!r} is not as initialized")
            break  # One says it.
    return found


def count_shared(inputs, others):
    """Counts the examples of `inputs` that are, bit by bit in float32, in `others`.

    Args:
        inputs: Nest of arrays.
        others: Nest of arrays of the same structure.
    """
    known = set(_digests(others))
    return sum(digest in known for digest in _digests(inputs))


def _constants(layer):
    """Names of the layer's weights whose initial values are known."""
    return [
        name.removesuffix("_initializer")
        for name, value in vars(layer).items()
        if name.endswith("_initializer") and isinstance(value, _CONSTANT)
    ]


def _has_changed(layer, name):
    variable = getattr(layer, name, None)
    if variable is None:  # Without a bias, say.
        return False
    initial = getattr(layer, f"{name}_initializer")(variable.shape)
    return bool(np.any(_array(variable) != _array(initial)))


def _array(tensor):
    return keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(tensor))


def _digests(inputs):
    """Yields a hash for each example, which does not depend on the dtype."""
    for row in zip(*map(_rows, keras.tree.flatten(inputs)), strict=True):
        yield hashlib.blake2b(b"|".join(row), digest_size=16).digest()


def _rows(array):
    array = np.asarray(array)
    if array.dtype.kind not in "biuf":
        return [repr(row.tolist()).encode() for row in array]
    # Zero has two signs, which are the same number.
    return [row.tobytes() for row in array.astype("float32") + np.float32(0)]


def _union(*lists):
    return list(dict.fromkeys(item for found in lists for item in found))
