"""What was measured at one linear map, and between two."""

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tf_genbounds.measure.quantities import REDUCTIONS


@dataclasses.dataclass(frozen=True)
class LayerMeasurements:
    """The measured quantities of one linear map. `None`: not asked for.

    Attributes:
        name: Name of the Keras layer; `"name#2"` is the second call of a
            shared layer, `"block/name"` a layer whose name is not unique.
        kind: Class name of the layer.
        input_shape: Shape of its input, without the batch axis.
        output_shape: Shape of its output, without the batch axis.
        num_parameters: Number of entries of its kernel.
        num_channels: Number of channels of its output.
        patch_overlap: How often each output channel uses a number of the
            input: `ceil(taps / stride)` for each axis of a convolution.
        batch_norm: Name of the batch normalization that is folded into the
            map, or `None`.
        spectral_norm: `||A||_2` of the operator: the Lipschitz constant of
            the map on inputs of `input_shape`. By power iteration, from below,
            and so not for a guarantee: see `functional.spectral_norm`.
        kernel_spectral_norm: `||A||_2` of the reshaped kernel.
        frobenius_norm: `||A||_F` of the kernel.
        operator_frobenius_norm: `||A||_F` of the operator.
        stable_rank: `||A||_F**2 / ||A||_2**2` of the kernel.
        operator_stable_rank: The same of the operator.
        l1_inf_norm: `||A||_{1,inf}` of the kernel: the largest sum of absolute
            values of the weights into a unit.
        l21_norm: `||A||_{2,1}` of the kernel: the sum over the units of the norm
            of the weights into them.
        converged: Whether every power iteration of this layer settled. The norms
            may be some 0.1 % too small, and the stable ranks too large, even so.
        distance_from_init: `||A - A_0||_F` of the kernel.
        l21_distance_from_init: `||A - A_0||_{2,1}` of the kernel.
        layer_cushion: Minimum over the samples of
            `||A v|| / (||A||_F ||v||)`, with `v` the layer's input and the
            Frobenius norm of the kernel.
        layer_cushion_from_init: The same over `||A - A_0||_F`.
        activation_contraction: Maximum over the samples of `||x|| / ||phi(x)||`
            for the activation that gives the layer's input; 1 for the first
            layer. `None` where it cannot be seen; the result's `notes` say why.
        pooled_contraction: The same with `phi` all that comes between two linear
            maps, pooling too: the norm of the pre-activations over that of the
            layer's input. Lemma 3 of the paper needs this one.
        num_degenerate: Samples that put no constraint on the layer cushion,
            because `||A||_F ||v||` is 0.
        minimal_interlayer_cushion: Minimum over the layer itself and all
            later ones of the interlayer cushion; at most
            `1 / sqrt(num_channels)`.
        unclipped_interlayer_cushion: The same over the later layers alone. A
            minimum of estimates is too large, see `PairMeasurements`.
        jacobian_spread: Maximum over samples and later layers of
            `sqrt(pixels) ||J_p||_F / ||J||_F`, `J_p` the part of `J` that
            reads one pixel: 1 if all pixels count alike.
        interlayer_smoothness: Minimum over samples, later layers and draws of
            the noise.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")])
    >>> layer = gb.measure(model, np.ones((2, 4), "float32")).layers["d"]
    >>> layer.kind, layer.num_parameters, 1 <= layer.stable_rank <= 3
    ('Dense', 12, True)
    """

    name: str
    kind: str
    input_shape: tuple
    output_shape: tuple
    num_parameters: int
    num_channels: int
    patch_overlap: int = 1
    batch_norm: str | None = None
    spectral_norm: float | None = None
    kernel_spectral_norm: float | None = None
    frobenius_norm: float | None = None
    operator_frobenius_norm: float | None = None
    stable_rank: float | None = None
    operator_stable_rank: float | None = None
    l1_inf_norm: float | None = None
    l21_norm: float | None = None
    converged: bool | None = None
    distance_from_init: float | None = None
    l21_distance_from_init: float | None = None
    layer_cushion: float | None = None
    layer_cushion_from_init: float | None = None
    activation_contraction: float | None = None
    pooled_contraction: float | None = None
    num_degenerate: int | None = None
    minimal_interlayer_cushion: float | None = None
    unclipped_interlayer_cushion: float | None = None
    jacobian_spread: float | None = None
    interlayer_smoothness: float | None = None

    @property
    def effective_parameters(self) -> float | None:
        """`(c beta / (mu_i mu_{i->}))^2` times the overlap of the patches.

        A count of parameters as in table 1 of the compression paper, constants
        and logarithms left out: a complexity, not a bound. `None` if a
        quantity is missing, `inf` if a cushion is 0.
        """
        return self._effective_parameters(self.layer_cushion)

    @property
    def effective_parameters_from_init(self) -> float | None:
        """The same for the difference from the initial weights."""
        return self._effective_parameters(self.layer_cushion_from_init)

    def _effective_parameters(self, cushion):
        others = (
            self.activation_contraction,
            self.jacobian_spread,
            self.minimal_interlayer_cushion,
        )
        if cushion is None or None in others:
            return None
        contraction, spread, interlayer = others
        if cushion == 0 or interlayer == 0:
            return math.inf
        root = contraction * spread / (cushion * interlayer)
        return self.patch_overlap * root**2

    def summarized(
        self, distributions: npt.ArrayLike, **fields: Any
    ) -> "LayerMeasurements":
        """Returns the same with its scalars taken from per-sample values.

        Args:
            distributions: Arrays by `(quantity, layer)`, samples first.
            **fields: Other fields to set.
        """
        fields |= {
            quantity: float(reduce(distributions[quantity, self.name]))
            for quantity, reduce in REDUCTIONS.items()
            if (quantity, self.name) in distributions
        }
        cushions = distributions.get(("layer_cushion", self.name))
        if cushions is not None:
            fields["num_degenerate"] = int(np.isposinf(cushions).sum())
            if self.distance_from_init is not None:
                fields["layer_cushion_from_init"] = _from_init(
                    fields["layer_cushion"],
                    self.frobenius_norm,
                    self.distance_from_init,
                )
        if "unclipped_interlayer_cushion" in fields:
            # `J^{i,i}` is the identity.
            fields["minimal_interlayer_cushion"] = float(
                np.minimum(
                    1 / math.sqrt(self.num_channels),
                    fields["unclipped_interlayer_cushion"],
                )
            )
        return dataclasses.replace(self, **fields)


@dataclasses.dataclass(frozen=True)
class PairMeasurements:
    """What was measured between two linear maps, `i` before `j`.

    The norm of `J` from random vectors errs to both sides. The mean of its inverse
    is too large, and a minimum over samples and pairs picks among the errors: with
    16 vectors it was seen 5 % too small to 4 % too large, the side that flatters.
    The derivative of max pooling depends on which of equal entries it takes (after
    ReLU often zeros), which moves a cushion by up to 1.5 %.

    Attributes:
        interlayer_cushion: Minimum over the samples of
            `sqrt(pixels) ||J x^i|| / (||J||_F ||x^i||)`.
        standard_error: Of that number, at the sample that attains it, from the
            random vectors alone; 0 if the norm of `J` is exact, NaN if there
            was one vector.
        num_probes: Number of random vectors, or `None` if the norm is exact.
        cut: Whether every path from the inputs to layer `j` goes through
            `x^i`. Elsewhere (beside a skip connection, say) the number is
            outside the theorems.
        normalized: Whether every path from `i` to `j` goes through a layer
            that normalizes each example. Then a multiple of `x^i` changes
            (almost) nothing, `J x^i` is (almost) 0, and so is the cushion.
    """

    interlayer_cushion: float
    standard_error: float
    num_probes: int | None
    cut: bool
    normalized: bool

    @classmethod
    def of(cls, names, distributions, **facts):
        """Takes the scalars from the per-sample values of a pair."""
        values = distributions["interlayer_cushion", names]
        worst = int(np.argmin(values))
        return cls(
            interlayer_cushion=float(values[worst]),
            standard_error=float(distributions["standard_error", names][worst]),
            **facts,
        )


def _from_init(cushion, norm, distance):
    if distance == 0:
        return math.inf
    return cushion * norm / distance
