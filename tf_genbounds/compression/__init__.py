"""Algorithms that store a kernel in fewer numbers, with what each guarantees."""

from tf_genbounds.compression.linear_classifiers import Sparse
from tf_genbounds.compression.linear_classifiers import sparsify
from tf_genbounds.compression.linear_classifiers import vector_project
from tf_genbounds.compression.matrix_project import Projection
from tf_genbounds.compression.matrix_project import matrix_project
from tf_genbounds.compression.matrix_project import num_matrices
from tf_genbounds.compression.matrix_project import project
from tf_genbounds.compression.quantize import Quantized
from tf_genbounds.compression.quantize import quantize
from tf_genbounds.compression.truncate_svd import Factors
from tf_genbounds.compression.truncate_svd import truncate_svd

__all__ = [
    "Factors",
    "Projection",
    "Quantized",
    "Sparse",
    "matrix_project",
    "num_matrices",
    "project",
    "quantize",
    "sparsify",
    "truncate_svd",
    "vector_project",
]
