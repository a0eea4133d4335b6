"""The forms that a layer of a compressed model may have, a class each.

The code word says for each layer which of `FORMS` it has, and its sizes. A form
knows how large these can be, how its layers are built, and which numbers stand for
a kernel.
"""

import dataclasses
import math
from typing import ClassVar

import keras

from tf_genbounds.compression.algorithms.filter_project import project_filters
from tf_genbounds.compression.algorithms.matrix_project import project
from tf_genbounds.compression.algorithms.truncate_svd import truncate_svd
from tf_genbounds.compression.forms import projected_layers

# Of filters at each position: errors of two positions have a correlation of 1 / 3.
_INDEPENDENCE = 3


@dataclasses.dataclass(frozen=True)
class Plain:
    """The layer as it is."""

    label: ClassVar[str] = "plain"

    @property
    def sizes(self):
        """The numbers that say how large the form is; from 1 to `limits`."""
        return dataclasses.astuple(self)

    @classmethod
    def of(cls, layer, keep):
        """Returns the form of about `keep` of a layer's numbers.

        Where that is not smaller than the layer, or is nothing, another one.
        """
        return cls()

    @staticmethod
    def limits(layer):
        """Returns how large each of `sizes` can be, for this layer."""
        return ()

    def build(self, layer, seed, index):
        """Returns a layer of this form, with weights of its own.

        Args:
            layer: The layer in whose place it stands.
            seed: Integer, of projections.
            index: Integer, which of the layers it is.
        """
        return _fresh(layer)

    def numbers(self, kernel, seed, index):
        """Returns the arrays that stand for a kernel."""
        return [kernel]


@dataclasses.dataclass(frozen=True)
class LowRank(Plain):
    """Two layers, the first of which has `rank` outputs."""

    rank: int
    label: ClassVar[str] = "low_rank"

    @classmethod
    def of(cls, layer, keep):
        size, outputs = math.prod(layer.kernel.shape), layer.kernel.shape[-1]
        rank = int(keep * size / (size // outputs + outputs))
        return cls(rank) if rank >= 1 else Plain()

    @staticmethod
    def limits(layer):
        *inputs, outputs = layer.kernel.shape
        return (min(math.prod(inputs), outputs),)

    def build(self, layer, seed, index):
        config = layer.get_config()
        first = config | {"name": f"{layer.name}_first", "use_bias": False}
        first |= {"activation": "linear", "activity_regularizer": None}
        second = config | {"name": f"{layer.name}_second"}
        if isinstance(layer, keras.layers.Dense):
            first["units"] = self.rank
        else:
            first["filters"] = self.rank
            ones = (1,) * len(layer.kernel_size)
            second |= {"kernel_size": ones, "strides": ones, "dilation_rate": ones}
            second["padding"] = "valid"
        return keras.Sequential(
            [type(layer).from_config(c) for c in (first, second)], name=layer.name
        )

    def numbers(self, kernel, seed, index):
        factors = truncate_svd(kernel, rank=self.rank)
        return [factors.first, factors.second]


@dataclasses.dataclass(frozen=True)
class Projected(Plain):
    """Inner products with `count` random matrices."""

    count: int
    label: ClassVar[str] = "projected"

    @classmethod
    def of(cls, layer, keep):
        size = math.prod(layer.kernel.shape)
        count = int(keep * size)
        return cls(count) if 1 <= count < size else Plain()

    @staticmethod
    def limits(layer):
        return (math.prod(layer.kernel.shape),)

    def build(self, layer, seed, index):
        return projected_layers.Projected(
            _fresh(layer), self.count, seed=seed, index=index, name=layer.name
        )

    def numbers(self, kernel, seed, index):
        return [project(kernel, self.count, seed=seed, layer=index).numbers]


@dataclasses.dataclass(frozen=True)
class FilterProjected(Plain):
    """Inner products with random filters, other ones at each output position."""

    count: int
    independence: int
    label: ClassVar[str] = "filter_projected"

    @classmethod
    def of(cls, layer, keep):
        positions = _positions(layer)
        if positions is not None:
            size = math.prod(layer.kernel.shape)
            independence = min(_INDEPENDENCE, math.prod(positions))
            count = int(keep * size / independence)
            if 1 <= count and count * independence < size:
                return cls(count, independence)
        # A layer that has one output position, or none.
        return Projected.of(layer, keep)

    @staticmethod
    def limits(layer):
        return math.prod(layer.kernel.shape), math.prod(_positions(layer) or (0,))

    def build(self, layer, seed, index):
        return projected_layers.FilterProjected(
            _fresh(layer), *self.sizes, seed=seed, index=index, name=layer.name
        )

    def numbers(self, kernel, seed, index):
        found = project_filters(
            kernel, *self.sizes, locations=1, seed=seed, layer=index
        )
        return [found.numbers]


# In the order of the code: another one would make old code words say other things.
FORMS = (Plain, LowRank, Projected, FilterProjected)


def _fresh(layer):
    return type(layer).from_config(layer.get_config())


def _positions(layer):
    """The size of a layer's output for `FilterProjected`, or `None`."""
    return projected_layers.positions(
        layer, tuple(layer.get_build_config()["input_shape"])
    )
