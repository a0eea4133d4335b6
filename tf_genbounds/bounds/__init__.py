"""What can be proved from measured numbers, and what only ranks."""

from tf_genbounds.bounds.bound import Bound
from tf_genbounds.bounds.combine import combine
from tf_genbounds.bounds.complexity import Complexity
from tf_genbounds.bounds.complexity import LayerComplexity
from tf_genbounds.bounds.concentrated_data import ConcentrationConstants
from tf_genbounds.bounds.concentrated_data import gap_decomposition
from tf_genbounds.bounds.concentrated_data import gram_constants
from tf_genbounds.bounds.concentrated_data import plug_in_constants
from tf_genbounds.bounds.concentration import bernstein_slack
from tf_genbounds.bounds.concentration import finite_class_bound
from tf_genbounds.bounds.concentration import hoeffding_slack
from tf_genbounds.bounds.concentration import klinv
from tf_genbounds.bounds.concentration import matrix_bernstein_slack
from tf_genbounds.bounds.concentration import occam_bound
from tf_genbounds.bounds.data_dependent import certified_ranges
from tf_genbounds.bounds.data_dependent import data_dependent_bound
from tf_genbounds.bounds.data_dependent import probabilistic_constants
from tf_genbounds.bounds.data_independent import certified_feature_norm
from tf_genbounds.bounds.data_independent import data_independent_bound
from tf_genbounds.bounds.effective_parameters import effective_parameters
from tf_genbounds.bounds.gaussian import gaussian_kl
from tf_genbounds.bounds.gaussian import gaussian_log_ratio
from tf_genbounds.bounds.linear_models import minimum_norm_interpolant
from tf_genbounds.bounds.linear_models import null_direction
from tf_genbounds.bounds.margin import margin_bound
from tf_genbounds.bounds.norm_based import norm_based_complexities
from tf_genbounds.bounds.norm_product import norm_product_bound
from tf_genbounds.bounds.pac_bayes import disintegrated_bound
from tf_genbounds.bounds.pac_bayes import gibbs_bound
from tf_genbounds.bounds.pac_bayes import pac_bayes_bound
from tf_genbounds.bounds.rademacher import linear_rademacher_complexity
from tf_genbounds.bounds.rademacher import massart_complexity
from tf_genbounds.bounds.rademacher import rademacher_bound
from tf_genbounds.bounds.rademacher import rademacher_complexity
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.bounds.robustness import meta_theorem_complexity
from tf_genbounds.bounds.robustness import robustness_bound
from tf_genbounds.bounds.robustness import vc_complexity
from tf_genbounds.bounds.rounding import at_least
from tf_genbounds.bounds.rounding import at_most
from tf_genbounds.bounds.rounding import confidence
from tf_genbounds.bounds.sample_compression import sample_compression_bound
from tf_genbounds.bounds.spectral import spectral_bound
from tf_genbounds.bounds.spectral import spectral_complexity
from tf_genbounds.bounds.stability import sgd_stability
from tf_genbounds.bounds.stability import stability_bound
from tf_genbounds.bounds.tails import betting_inverse
from tf_genbounds.bounds.tails import binomial_tail_inverse
from tf_genbounds.bounds.tails import empirical_bernstein_slack
from tf_genbounds.bounds.truncation_parameters import truncation_parameters
from tf_genbounds.bounds.validation import validation_bound

__all__ = [
    "Assumption",
    "Bound",
    "Complexity",
    "ConcentrationConstants",
    "LayerComplexity",
    "at_least",
    "at_most",
    "bernstein_slack",
    "betting_inverse",
    "binomial_tail_inverse",
    "certified_feature_norm",
    "certified_ranges",
    "combine",
    "confidence",
    "data_dependent_bound",
    "data_independent_bound",
    "disintegrated_bound",
    "effective_parameters",
    "empirical_bernstein_slack",
    "finite_class_bound",
    "gap_decomposition",
    "gaussian_kl",
    "gaussian_log_ratio",
    "gibbs_bound",
    "gram_constants",
    "hoeffding_slack",
    "klinv",
    "linear_rademacher_complexity",
    "margin_bound",
    "massart_complexity",
    "matrix_bernstein_slack",
    "meta_theorem_complexity",
    "minimum_norm_interpolant",
    "norm_based_complexities",
    "norm_product_bound",
    "null_direction",
    "occam_bound",
    "pac_bayes_bound",
    "plug_in_constants",
    "probabilistic_constants",
    "rademacher_bound",
    "rademacher_complexity",
    "robustness_bound",
    "sample_compression_bound",
    "sgd_stability",
    "spectral_bound",
    "spectral_complexity",
    "stability_bound",
    "truncation_parameters",
    "validation_bound",
    "vc_complexity",
]
