"""What can be proved from measured numbers, and what only ranks."""

from tf_genbounds.bounds.bound import Assumption
from tf_genbounds.bounds.bound import Bound
from tf_genbounds.bounds.bound import Complexity
from tf_genbounds.bounds.bound import LayerComplexity
from tf_genbounds.bounds.concentration import bernstein_slack
from tf_genbounds.bounds.concentration import finite_class_bound
from tf_genbounds.bounds.concentration import hoeffding_slack
from tf_genbounds.bounds.concentration import klinv
from tf_genbounds.bounds.concentration import matrix_bernstein_slack
from tf_genbounds.bounds.concentration import occam_bound
from tf_genbounds.bounds.data_independent import certified_feature_norm
from tf_genbounds.bounds.data_independent import data_independent_bound
from tf_genbounds.bounds.effective_parameters import effective_parameters
from tf_genbounds.bounds.effective_parameters import patch_overlap
from tf_genbounds.bounds.validation import validation_bound

__all__ = [
    "Assumption",
    "Bound",
    "Complexity",
    "LayerComplexity",
    "bernstein_slack",
    "certified_feature_norm",
    "data_independent_bound",
    "effective_parameters",
    "finite_class_bound",
    "hoeffding_slack",
    "klinv",
    "matrix_bernstein_slack",
    "occam_bound",
    "patch_overlap",
    "validation_bound",
]
