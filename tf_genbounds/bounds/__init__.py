"""What can be proved from measured numbers, and what only ranks."""

from tf_genbounds.bounds.bound import Assumption
from tf_genbounds.bounds.bound import Bound
from tf_genbounds.bounds.bound import Complexity
from tf_genbounds.bounds.bound import LayerComplexity
from tf_genbounds.bounds.effective_parameters import effective_parameters
from tf_genbounds.bounds.effective_parameters import patch_overlap

__all__ = [
    "Assumption",
    "Bound",
    "Complexity",
    "LayerComplexity",
    "effective_parameters",
    "patch_overlap",
]
