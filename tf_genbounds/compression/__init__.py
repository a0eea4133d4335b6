"""Smaller models, their codes, and what the length of a code proves."""

from tf_genbounds.compression.certificate import Certificate
from tf_genbounds.compression.compact import Projected
from tf_genbounds.compression.compress import compress
from tf_genbounds.compression.compressed import Compressed
from tf_genbounds.compression.linear_classifiers import Sparse
from tf_genbounds.compression.linear_classifiers import sparsify
from tf_genbounds.compression.linear_classifiers import vector_project
from tf_genbounds.compression.matrix_project import Projection
from tf_genbounds.compression.matrix_project import matrix_project
from tf_genbounds.compression.matrix_project import num_matrices
from tf_genbounds.compression.matrix_project import project
from tf_genbounds.compression.quantize import Quantized
from tf_genbounds.compression.quantize import quantize
from tf_genbounds.compression.quantized_training import QuantizedTraining
from tf_genbounds.compression.truncate_svd import Factors
from tf_genbounds.compression.truncate_svd import truncate_svd

__all__ = [
    "Certificate",
    "Compressed",
    "Factors",
    "Projected",
    "Projection",
    "Quantized",
    "QuantizedTraining",
    "Sparse",
    "compress",
    "matrix_project",
    "num_matrices",
    "project",
    "quantize",
    "sparsify",
    "truncate_svd",
    "vector_project",
]
