"""Spectral norms and stable ranks, by a filtered block power iteration.

The value converges from below: it is for display and training, never for a
guarantee. `spectral_norm_upper_bound` is for those.
"""

import dataclasses
import functools
import math
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from tf_genbounds import backend
from tf_genbounds.checks import check_positive
from tf_genbounds.functional import long_products
from tf_genbounds.functional.operators import LinearOperator
from tf_genbounds.functional.operators import as_matrices
from tf_genbounds.functional.operators import check_matrix
from tf_genbounds.functional.operators import frobenius_norm
from tf_genbounds.functional.operators import in_range
from tf_genbounds.functional.operators import keep_nan
from tf_genbounds.functional.operators import root_of_squares
from tf_genbounds.functional.power_iteration import loop
from tf_genbounds.functional.power_iteration import step
from tf_genbounds.functional.structures import Contraction
from tf_genbounds.functional.structures import Convolution
from tf_genbounds.functional.structures import known

# A matrix with a side this short is solved exactly, by one step whose block
# is the whole space.
_EXACT_SIDE = 16


class SpectralEstimate(NamedTuple):
    """A spectral norm and how far its computation came.

    All are tensors: scalars (`vectors` apart) for an operator, of shape
    `(...)` for an array of matrices.

    Attributes:
        value: Float32, the norm `||A||_2`; at most the true one, rounding
            apart.
        converged: Bool, `residual <= tolerance`. Says that the iteration settled,
            not that the value is exact: it may be some 0.1 % low all the same.
        residual: Float32, `||A^T A v - value**2 v|| / value**2` for the unit
            vector `v` found. Some singular value lies within
            `residual * value` of `value`: nothing says that it is the
            largest.
        iterations: Int32, the products by `A^T A` so far.
        vectors: Float32, the block of unit vectors to start from next time.
    """

    value: object
    converged: object
    residual: object
    iterations: object
    vectors: object


def spectral_norm(
    target: Any,
    matrix: str = "operator",
    *,
    num_vectors: int = 4,
    max_iterations: int = 100,
    tolerance: float = 0.005,
    start: Any = None,
    seed: int = 0,
) -> SpectralEstimate:
    """Computes the spectral norm of a layer's linear map, or of matrices.

    The norm is `||A||_2 = max ||A x|| / ||x||`, the largest singular value
    (not its square, the eigenvalue of `A^T A`). A block of vectors is
    multiplied by polynomials of `A^T A`, and the largest value of `A^T A`
    within its span (Rayleigh and Ritz) is the estimate. A block sees through
    the tiny gaps between the singular values of convolutions, on which a
    single vector stalls.

    The value converges from below, so it must not enter a guarantee, `converged`
    or not: take `spectral_norm_upper_bound` there. With the default tolerance the
    error was at most 0.2 % on random layers up to those of VGG16.

    Args:
        target: `LinearOperator`, or array of shape `(..., rows, columns)`.
        matrix: `"operator"` or `"kernel"`, which matrix of a layer is meant.
            Of a kernel in blocks, the largest norm of a block. Defaults to
            `"operator"`. An array is its own matrix.
        num_vectors: Int, size of the block. Defaults to 4.
        max_iterations: Int, most products by `A^T A`. Defaults to 100. A
            single one with a warm `start` is for training steps: no loop is
            compiled.
        tolerance: Float, largest `residual` that counts as converged.
            Defaults to 0.005.
        start: Tensor, `vectors` of an earlier result, or anything of the
            shape of `start_vectors`. Defaults to the random ones of `seed`.
        seed: Int, seed of the random start, equal on every backend.

    Returns:
        A `SpectralEstimate`. All its fields are tensors: but for `vectors`,
        scalars for an operator, and of shape `(...)` for an array, where
        `iterations` is a scalar too.

    Raises:
        ValueError: If an argument is out of range, `start` has the wrong
            shape, or the operator's input size is unknown.

    Example:

    >>> estimate = spectral_norm(np.array([[0.0, 3.0], [0.0, 4.0]]))
    >>> float(estimate.value), bool(estimate.converged)
    (5.0, True)

    References:
        - [Zhou et al., 2006](https://doi.org/10.1016/j.jcp.2006.03.017), the
          subspace iteration filtered by Chebyshev polynomials.
    """
    kind = check_matrix(target, matrix)
    check_positive("max_iterations", max_iterations)
    if kind == "array":
        target = as_matrices(target)
    if start is None:
        start = start_vectors(target, matrix, num_vectors=num_vectors, seed=seed)
    start = ops.convert_to_tensor(start, "float32")
    leading, vector_shape = _block_shape(target, kind)
    shape = tuple(start.shape)
    if shape != (*leading, *shape[len(leading) :][:1], *vector_shape):
        expected = (*leading, "num_vectors", *vector_shape)
        raise ValueError(
            f"`start` must have the shape {expected}. Received: start.shape={shape}"
        )
    structure = None if kind == "array" else target.structure
    solve = _compiled(structure, kind == "operator", max_iterations == 1)
    return SpectralEstimate(
        *solve(
            # Nobody differentiates through the iteration, and a gradient tape
            # would keep every step of it.
            ops.stop_gradient(target if kind == "array" else target.kernel),
            ops.stop_gradient(start),
            ops.convert_to_tensor(tolerance, "float32"),
            ops.convert_to_tensor(max_iterations, "int32"),
        )
    )


def start_vectors(target, matrix="operator", *, num_vectors=4, seed=0):
    """Draws the block of vectors that `spectral_norm` starts from.

    Its shape is that of a state that keeps the block between training steps.
    A matrix with a side of at most 16 gets a whole basis instead.

    Args:
        target: `LinearOperator`, or array of shape `(..., rows, columns)`.
        matrix: `"operator"` or `"kernel"`, as in `spectral_norm`.
        num_vectors: Int, size of the block. Defaults to 4.
        seed: Int.

    Returns:
        Float32 NumPy array. For the operator of a convolution it has shape
        `(num_vectors, *input_shape)`; for matrices `(..., num_vectors, side)`
        with the shorter of their sides, and `(blocks, num_vectors, side)` for
        a kernel and for the operator of a Dense or EinsumDense layer.

    Example:

    >>> start_vectors(np.ones((100, 50))).shape
    (4, 50)
    """
    kind = check_matrix(target, matrix)
    check_positive("num_vectors", num_vectors)
    leading, vector_shape = _block_shape(target, kind)
    size = math.prod(vector_shape)
    if size <= max(num_vectors, _EXACT_SIDE):
        basis = np.eye(size, dtype="float32").reshape(size, *vector_shape)
        return np.tile(basis, (*leading, *(1 for _ in basis.shape)))
    shape = (*leading, num_vectors, *vector_shape)
    return np.random.default_rng(seed).standard_normal(shape, "float32")


def stable_rank(
    target: Any,
    matrix: str = "kernel",
    *,
    estimate: Any = None,
    unsquared: bool = False,
    **options: Any,
) -> Any:
    """Computes the stable rank of a layer's linear map, or of matrices.

    The stable rank is a noise-tolerant stand-in for the rank,
    `||A||_F**2 / ||A||_2**2`. It is invariant to scaling and lies between 1
    and `rank(A)`; the zero matrix has stable rank 0. The spectral norm
    converges from below, and so the stable rank from above.

    Args:
        target: `LinearOperator`, or array of shape `(..., rows, columns)`.
        matrix: `"kernel"` or `"operator"`, which matrix of a layer is meant;
            those of a convolution have very different stable ranks. Defaults
            to `"kernel"`. An array is its own matrix.
        estimate: `SpectralEstimate` of the same matrix, if at hand.
        unsquared: Bool, whether to return `||A||_F / ||A||_2`, which some
            authors call the stable rank. Defaults to False.
        **options: For `spectral_norm`.

    Returns:
        Float32 tensor, a scalar for an operator and of shape `(...)` for an
        array.

    Example:

    >>> round(float(stable_rank(np.diag([2.0, 1.0, 1.0]))), 4)
    1.5

    References:
        - [Rudelson and Vershynin, 2007](https://arxiv.org/abs/math/0503442),
          where it is called the numerical rank.
    """
    if estimate is None:
        estimate = spectral_norm(target, matrix, **options)
    ratio = ops.divide_no_nan(frobenius_norm(target, matrix), estimate.value)
    return ratio if unsquared else ops.square(ratio)


def _block_shape(target, kind):
    """Shapes before and after the axis of the vectors in a block."""
    if kind == "operator" and isinstance(target.structure, Convolution):
        return (), tuple(known(target.input_shape))
    if kind == "array":
        shape = np.shape(target)
    else:
        # Shapes only: the kernel is not moved.
        symbol = keras.KerasTensor(target.kernel.shape)
        shape = dataclasses.replace(target, kernel=symbol).kernel_matrix().shape
    return tuple(shape[:-2]), (min(shape[-2:]),)


@functools.lru_cache(maxsize=512)
def _compiled(structure, of_operator, single_step):
    """The iteration for every layer of one structure, compiled once.

    Without a structure, for arrays.
    """
    iterate = step if single_step else loop

    def scaled(kernel, start, tolerance, max_iterations):
        """Scales the kernel to one, and iterates."""
        if of_operator and isinstance(structure, Convolution):
            kernel, largest = _scaled_to_one(kernel, axis=None)
            gram = _gram_of_operator(LinearOperator(structure, kernel))
            block = ops.reshape(start, (start.shape[0], -1))
        else:
            kernel, largest = _scaled_to_one(matrices(kernel), axis=(-2, -1))
            gram, block = _gram_of_matrices(kernel), start
        value, residual, block, iterations = iterate(
            gram, block, tolerance, max_iterations
        )
        # A block orthogonal to every row of the matrix has found nothing.
        lost = ops.logical_and(value == 0, largest > 0)
        residual = ops.where(lost, float("inf"), residual)
        return largest * value, residual, block, iterations

    def matrices(kernel):
        if structure is None:
            return kernel
        view = structure.view(kernel)
        if view is None:
            return LinearOperator(structure, kernel).kernel_matrix()
        return view

    def as_it_is(kernel, start, norm):
        """Makes a step that only reads the kernel: the images are scaled."""
        if of_operator and isinstance(structure, Convolution):
            gram = _gram_of_operator(LinearOperator(structure, kernel))
            block = ops.reshape(start, (start.shape[0], -1))
        else:
            gram, block = _gram_of_matrices(matrices(kernel)), start
        value, residual, block, iterations = step(
            lambda block: gram(block / norm) / norm, block
        )
        residual = ops.where(value == 0, float("inf"), residual)
        return norm * value, residual, block, iterations

    def solve(kernel, start, tolerance, max_iterations):
        if single_step and structure is not None:
            norm = root_of_squares(kernel)
            value, residual, block, iterations = ops.cond(
                in_range(ops.square(norm)),
                lambda: as_it_is(kernel, start, norm),
                lambda: scaled(kernel, start, tolerance, max_iterations),
            )
        else:
            value, residual, block, iterations = scaled(
                kernel, start, tolerance, max_iterations
            )
        if structure is not None:
            value = keep_nan(ops.max(value), ops.sum(value))
            residual = ops.max(residual)
        if of_operator and isinstance(structure, Contraction):
            value = structure.repetition * value
        converged = ops.logical_and(residual <= tolerance, ops.isfinite(value))
        block = ops.reshape(block, start.shape)
        return value, converged, residual, iterations, block

    return backend.jit(solve)


def _scaled_to_one(kernel, axis):
    """Divides by the largest entry, so that squares stay within float32.

    A kernel with NaN becomes 0, since it would stop TensorFlow's `eigh` and
    the training with it; the returned largest entry carries the NaN on.
    """
    largest = ops.max(ops.abs(kernel), axis=axis, keepdims=True)
    finite = ops.all(ops.isfinite(kernel), axis=axis, keepdims=True)
    usable = ops.logical_and(finite, largest > 0)
    scaled = ops.where(usable, kernel / largest, 0.0)
    largest = ops.where(finite, largest, float("nan"))
    return scaled, ops.squeeze(largest, axis)


def _gram_of_operator(operator):
    """`A^T A` of the operator, on flattened vectors `(k, size)`."""

    def gram(block):
        images = ops.reshape(block, (-1, *operator.input_shape))
        return ops.reshape(operator.rmatvec(operator.matvec(images)), block.shape)

    return gram


def _gram_of_matrices(matrices):
    """`A^T A` or `A A^T`, whichever is smaller, on vectors `(..., k, side)`."""
    if matrices.shape[-1] > matrices.shape[-2]:
        matrices = ops.swapaxes(matrices, -1, -2)

    def gram(block):
        # Transposes the thin factors, never the matrix.
        images = long_products.matmul(matrices, ops.swapaxes(block, -1, -2))
        return long_products.matmul(ops.swapaxes(images, -1, -2), matrices)

    return gram
