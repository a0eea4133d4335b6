"""An array of weights that is learned, and frozen on a grid by and by."""

import math

import keras
import numpy as np
from keras import ops

from tf_genbounds.compression.codes import weight_code

# The logarithm of a step learns this much slower than the weights.
_STEP_RATE = 0.1
# How far a weight that is not frozen yet may lie outside its levels.
_MARGIN = 0.4
_UNLIMITED = 1e9


class GridArray(keras.layers.Layer):
    """An array as `step * l`, with whole numbers `l` once it is frozen.

    What is learned is the array in units of the step, and the logarithm of the step.

    Args:
        array: Float array, the initial values.
        end: Integer: levels go from `-end` to `end`.
        coarseness: Float, the first step over the one with the least squared error.
        name: String.

    Attributes:
        scaled: Variable, the array in units of the step.
        frozen: Variable, 1 where the weight is frozen.
        levels: Variable, the level of each frozen weight.
        log_step: Variable, the logarithm of the step over `_STEP_RATE`.
        fixed: Variable, 1 once the step is one that can be written.
        limit: Variable, how far from 0 a weight may lie, which is far while there
            is no grid.
    """

    def __init__(self, array, end, coarseness, name):
        super().__init__(name=name)
        self.end = end
        self._coarseness = coarseness
        step = self._best_step(array)
        self.scaled = self._variable("scaled", array / step, True)
        self.frozen = self._variable("frozen", np.zeros_like(array), False)
        self.levels = self._variable("levels", np.zeros_like(array), False)
        self.log_step = self._variable("log_step", np.log(step) / _STEP_RATE, True)
        self.fixed = self._variable("fixed", np.float32(0), False)
        self.limit = self._variable("limit", np.float32(_UNLIMITED), False)
        self.built = True

    def _variable(self, name, value, trainable):
        variable = self.add_weight(
            shape=np.shape(value), name=name, initializer="zeros", trainable=trainable
        )
        variable.assign(value)
        return variable

    def _best_step(self, array):
        """One of `weight_code.STEPS`."""
        found = weight_code.levels(array, self.end)
        step = 0.1  # Biases begin with zeros.
        if np.any(array) and isinstance(found, weight_code.Levels):
            step = max(float(found.step) * self._coarseness, 1e-4)
        return weight_code.STEPS[weight_code.position(step)]

    @property
    def size(self):
        return int(np.prod(self.scaled.shape))

    def within(self):
        """Returns the array in units of its step, the frozen weights on levels."""
        scaled, limit = map(ops.convert_to_tensor, (self.scaled, self.limit))
        # The gradient goes through: a weight at the limit can come back.
        kept = scaled + ops.stop_gradient(ops.clip(scaled, -limit, limit) - scaled)
        frozen, levels = map(ops.convert_to_tensor, (self.frozen, self.levels))
        return ops.where(frozen > 0, levels, kept)

    def rounded(self):
        """Returns the levels, those of weights that are not frozen too."""
        return ops.clip(ops.round(self.within()), -self.end, self.end)

    def value(self):
        """Returns the array as the network has it now."""
        log_step = ops.convert_to_tensor(self.log_step)
        # Were it rounded while it is learned, the array would jump to and fro.
        step = ops.where(
            ops.convert_to_tensor(self.fixed) > 0,
            nearest_step(log_step),
            ops.exp(_STEP_RATE * log_step),
        )
        return step * self.within()

    def coded(self):
        """Returns the array as it is written, everything rounded."""
        step = nearest_step(ops.convert_to_tensor(self.log_step))
        return weight_code.Levels(
            ops.convert_to_numpy(self.rounded()).astype("int64"),
            weight_code.position(float(step)),
            self.end,
        )

    @property
    def exact(self):
        """Whether there is no grid."""
        return float(ops.convert_to_numpy(self.limit)) == np.float32(_UNLIMITED)

    def thaw(self):
        """Makes every weight learn again, from where it is, without a grid."""
        self.scaled.assign(self.within())
        self.frozen.assign(ops.zeros(self.frozen.shape))
        self.fixed.assign(0.0)
        self.limit.assign(_UNLIMITED)

    def find_grid(self):
        """Chooses the step for what the array is now."""
        array = ops.convert_to_numpy(self.value())
        step = self._best_step(array)
        self.log_step.assign(np.log(step) / _STEP_RATE)
        self.scaled.assign(array / step)
        self.limit.assign(self.end + _MARGIN)

    def fix_step(self):
        """Rounds the step to one that can be written, for good."""
        self.fixed.assign(1.0)

    def freeze(self, chosen):
        """Freezes weights on their levels.

        Args:
            chosen: Boolean array, with all that are frozen already.
        """
        if np.any(chosen) and not np.any(ops.convert_to_numpy(self.frozen)):
            # It learned since the grid was found: nothing holds to the old one yet.
            self.find_grid()
        within = ops.convert_to_numpy(self.within())
        levels = ops.convert_to_numpy(self.rounded())
        self.levels.assign(np.where(chosen, levels, 0.0))
        self.frozen.assign(chosen.astype("float32"))
        self.scaled.assign(np.where(chosen, levels, within))


def nearest_step(log_step):
    """Returns the nearest step that can be written."""
    octaves = log_step * (_STEP_RATE / math.log(2))
    position = ops.cast(ops.round(weight_code.OCTAVE * octaves), "int32")
    size = len(weight_code.STEPS)
    return ops.take(weight_code.STEPS, ops.clip(position + size // 2, 0, size - 1))
