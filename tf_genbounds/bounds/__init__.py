"""What the numbers say: complexities, from measured numbers alone."""

from tf_genbounds.bounds.complexity import Assumption
from tf_genbounds.bounds.complexity import Complexity
from tf_genbounds.bounds.complexity import LayerComplexity
from tf_genbounds.bounds.effective_parameters import effective_parameters

__all__ = [
    "Assumption",
    "Complexity",
    "LayerComplexity",
    "effective_parameters",
]
