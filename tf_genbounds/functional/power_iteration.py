"""The largest singular value of a map, by filtered subspace iteration.

One step multiplies a block of vectors by `A^T A`, finds the best vectors in
its span (Rayleigh and Ritz), and, before the next, multiplies them by a
Chebyshev polynomial of `A^T A` that is small on all energies (squared singular
values) below the block's and large above. Only eigenproblems of the size of
the block are solved, so that everything compiles, also under XLA.
"""

from keras import ops

from tf_genbounds.functional import long_products

# Products by `A^T A` from one Rayleigh-Ritz step to the next. On the layers of
# VGG16 it takes 20 products, where plain power iteration takes 60.
DEGREE = 6


def loop(gram, block, tolerance, max_iterations):
    """Iterates until every residual is small, or the products are spent.

    Args:
        gram: Function that multiplies blocks of shape `(..., k, size)` by
            `A^T A`.
        block: Float32 tensor of shape `(..., k, size)`; the vectors are the
            rows, in any length and position.
        tolerance: Float32 scalar tensor.
        max_iterations: Int32 scalar tensor, the most products.

    Returns:
        Tensors `(value, residual, block, iterations)`: the norm and the
        relative residual, of shape `(...)`; unit vectors to go on from; and
        how many products were made.
    """

    def unfinished(value, residual, block, iterations):
        return ops.logical_and(
            iterations < max_iterations, ops.any(residual > tolerance)
        )

    def body(value, residual, block, iterations):
        value, residual, filtered, vectors, cut = _rayleigh_ritz(gram, block)
        # One product is spent above, and the last one is for a value.
        more = ops.minimum(DEGREE - 1, max_iterations - iterations - 2)
        more = ops.where(ops.any(residual > tolerance), ops.maximum(more, 0), 0)

        def recur(_, state):
            block, previous = state
            return 2 * _shifted(gram(block), block, cut) - previous, block

        filtered, _ = ops.fori_loop(0, more, recur, (filtered, vectors))
        return value, residual, filtered, iterations + 1 + more

    unknown = ops.full(block.shape[:-2], float("inf"), "float32")
    first = (unknown, unknown, block, ops.zeros((), "int32"))
    value, residual, block, iterations = ops.while_loop(unfinished, body, first)
    return value, residual, _unit(block), iterations


def step(gram, block, tolerance=None, max_iterations=1):
    """Makes a single step, as `loop` would, and compiles no loop."""
    value, residual, filtered, _, _ = _rayleigh_ritz(gram, block)
    return value, residual, _unit(filtered), ops.ones((), "int32")


def _rayleigh_ritz(gram, block):
    """The best vectors in the span of `block`, and the filter's first step.

    Vectors are the rows, those of the largest energy (squared norm of the
    image) last.
    """
    vectors = _orthonormal(block)
    images = gram(vectors)
    projected = long_products.matmul(images, ops.swapaxes(vectors, -1, -2))
    projected = (projected + ops.swapaxes(projected, -1, -2)) / 2
    energies, basis = ops.eigh(projected)
    basis = ops.swapaxes(basis, -1, -2)
    vectors, images = ops.matmul(basis, vectors), ops.matmul(basis, images)

    energy = ops.maximum(energies[..., -1:], 0.0)
    error = _length(images[..., -1, :] - energy * vectors[..., -1, :])
    residual = ops.divide_no_nan(error, energy)[..., 0]

    # The floor keeps the polynomial within float32 when the rank is small.
    cut = ops.maximum(energies[..., :1], energy / 4)
    cut = ops.where(cut > 0, cut, 1.0)[..., None]
    filtered = _shifted(images, vectors, cut)
    return ops.sqrt(energy[..., 0]), residual, filtered, vectors, cut


def _shifted(images, vectors, cut):
    """`(2 A^T A / cut - 1) v`: maps energies below `cut` into [-1, 1].

    Chebyshev's polynomials of it, `T_n = 2 (.) T_{n-1} - T_{n-2}`, stay
    within [-1, 1] there and grow fastest of all polynomials above. The cut is
    the least energy of the block, so that what the block holds grows.
    """
    return 2 * images / cut - vectors


def _orthonormal(block):
    """Orthonormal rows that span what the rows of `block` do.

    By the eigenvectors of their small Gram matrix, twice: on a CPU six times
    faster than TensorFlow's QR of such tall matrices. What the first pass
    loses to the squared condition the second restores. A direction that is
    missing altogether stays short, which can only lower the estimate.
    """
    block = _unit(block)
    for _ in range(2):
        gram = long_products.matmul(block, ops.swapaxes(block, -1, -2))
        squares, basis = ops.eigh(gram)
        floor = ops.maximum(1e-6 * squares[..., -1:], 1e-30)
        basis = basis / ops.sqrt(ops.maximum(squares, floor))[..., None, :]
        block = ops.matmul(ops.swapaxes(basis, -1, -2), block)
    return block


def _unit(block):
    return ops.divide_no_nan(block, _length(block))


def _length(vectors):
    return ops.sqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True))
