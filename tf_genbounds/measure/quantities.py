"""The quantities that `measure` knows: what each is of, and which value constrains."""

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A quantity by its name.

    Attributes:
        name: As `measure(quantities=)` and the fields of the results have it.
        of: `"weights"`, `"samples"` or `"pairs"` of layers: what it is measured of.
        worst: Of the values of all samples, the number of the layer: the compression
            paper asks for every sample. `None` if a layer has no value for each.
        asked: Whether `measure(quantities=)` names it. Others come with one of these.
    """

    name: str
    of: str
    worst: Callable | None = None
    asked: bool = True


KNOWN = (
    Quantity("spectral_norm", "weights"),
    Quantity("frobenius_norm", "weights"),
    Quantity("stable_rank", "weights"),
    Quantity("unit_norms", "weights"),
    Quantity("layer_cushion", "samples", np.min),
    Quantity("activation_contraction", "samples", np.max),
    Quantity("pooled_contraction", "samples", np.max, asked=False),
    Quantity("margins", "samples"),
    Quantity("interlayer_cushion", "pairs"),
    Quantity("unclipped_interlayer_cushion", "pairs", np.min, asked=False),
    Quantity("jacobian_spread", "pairs", np.max),
    Quantity("interlayer_smoothness", "pairs", np.min),
)


def names_of(kind):
    """Returns what `quantities=` may name of one kind, as a tuple.

    Example:

    >>> names_of("pairs")
    ('interlayer_cushion', 'jacobian_spread', 'interlayer_smoothness')
    """
    return tuple(q.name for q in KNOWN if q.of == kind and q.asked)


OF_WEIGHTS = names_of("weights")
OF_SAMPLES = names_of("samples")
OF_PAIRS = names_of("pairs")
ALL = OF_WEIGHTS + OF_SAMPLES + OF_PAIRS
# How the values of the samples become the number of a layer.
REDUCTIONS = {q.name: q.worst for q in KNOWN if q.worst is not None}
# A pair of layers has its own cushion for each sample.
PER_SAMPLE = (*REDUCTIONS, "interlayer_cushion")
