"""Smaller models, their codes, and what the length of a code proves."""

from tf_genbounds.compression.algorithms.filter_project import FilterProjection
from tf_genbounds.compression.algorithms.filter_project import filter_project
from tf_genbounds.compression.algorithms.linear_classifiers import Sparse
from tf_genbounds.compression.algorithms.linear_classifiers import sparsify
from tf_genbounds.compression.algorithms.linear_classifiers import vector_project
from tf_genbounds.compression.algorithms.matrix_project import Projection
from tf_genbounds.compression.algorithms.matrix_project import matrix_project
from tf_genbounds.compression.algorithms.matrix_project import num_matrices
from tf_genbounds.compression.algorithms.matrix_project import project
from tf_genbounds.compression.algorithms.quantize import Quantized
from tf_genbounds.compression.algorithms.quantize import quantize
from tf_genbounds.compression.algorithms.quantize import to_float16
from tf_genbounds.compression.algorithms.truncate_svd import Factors
from tf_genbounds.compression.algorithms.truncate_svd import truncate_svd
from tf_genbounds.compression.certificate.certificate import Certificate
from tf_genbounds.compression.certificate.compressed import Compressed
from tf_genbounds.compression.compress import compress
from tf_genbounds.compression.forms.projected_layers import FilterProjected
from tf_genbounds.compression.forms.projected_layers import Projected
from tf_genbounds.compression.training.quantized_training import QuantizedTraining
from tf_genbounds.compression.training.random_subspace import RandomSubspace

__all__ = [
    "Certificate",
    "Compressed",
    "Factors",
    "FilterProjected",
    "FilterProjection",
    "Projected",
    "Projection",
    "Quantized",
    "QuantizedTraining",
    "RandomSubspace",
    "Sparse",
    "compress",
    "filter_project",
    "matrix_project",
    "num_matrices",
    "project",
    "quantize",
    "sparsify",
    "to_float16",
    "truncate_svd",
    "vector_project",
]
