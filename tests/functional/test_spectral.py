import dataclasses
import functools

import keras
import numpy as np
import oracles
import pytest
from keras import layers
from keras import ops
from linear_layers import KINDS
from linear_layers import linear_layer

from tf_genbounds import backend
from tf_genbounds.functional.operators import frobenius_norm
from tf_genbounds.functional.operators import linear_operator
from tf_genbounds.functional.spectral import spectral_norm
from tf_genbounds.functional.spectral import stable_rank
from tf_genbounds.functional.spectral import start_vectors

TENSORFLOW = backend.name == "tensorflow"

# JAX takes a second to compile the iteration of each structure: fewer of them.
SOME_KINDS = KINDS if TENSORFLOW else ("Dense", "DepthwiseConv1D", "Conv2DTranspose")
OPTIONS = [
    {"strides": s, "padding": p} for s in (1, 2, 3) for p in ("same", "valid")
] + [{"dilation_rate": 2, "padding": "same"}, {"groups": 4}, {"taps": (2, 4)}]


@functools.cache
def convolution(
    seed=0, image=(6, 6), channels=8, filters=8, taps=3, dtype=None, **options
):
    """The operator of a random convolution with tiny gaps."""
    layer = layers.Conv2D(filters, taps, dtype=dtype, **options)
    layer.build((None, *image, channels))
    generator = np.random.default_rng(seed)
    layer.kernel.assign(generator.normal(size=layer.kernel.shape))
    return linear_operator(layer)


def matrix(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def scaled(operator, factor):
    return operator.scaled(np.full(operator.output_shape[-1], factor))


# Against the singular values of dense matrices. ------------------------------


@pytest.mark.parametrize("seed", range(2 if TENSORFLOW else 1))
@pytest.mark.parametrize("kind", SOME_KINDS)
def test_the_norm_of_every_layer_is_that_of_its_matrix(kind, seed):
    layer, shape = linear_layer(kind, seed)
    estimate = spectral_norm(linear_operator(layer))
    expected = oracles.spectral_norm(oracles.layer_matrix(layer, shape))
    assert bool(estimate.converged)
    np.testing.assert_allclose(estimate.value, expected, rtol=0.005)
    assert float(estimate.value) <= expected * (1 + 1e-5)


@pytest.mark.parametrize("kind", SOME_KINDS)
def test_the_kernel_norm_is_that_of_its_largest_block(kind):
    layer, _ = linear_layer(kind, 0)
    operator = linear_operator(layer)
    blocks = ops.convert_to_numpy(operator.kernel_matrix())
    estimate = spectral_norm(operator, "kernel")
    np.testing.assert_allclose(
        estimate.value, np.max(oracles.spectral_norm(blocks)), rtol=0.005
    )


# Traps 4 and 6: strides, padding and dilation belong to the operator.
@pytest.mark.parametrize("options", OPTIONS if TENSORFLOW else OPTIONS[2::4], ids=str)
def test_the_norm_of_a_convolution_with_tiny_gaps(options):
    for seed in range(3 if TENSORFLOW else 1):
        operator = convolution(seed, **options)
        estimate = spectral_norm(operator, seed=seed)
        dense = ops.convert_to_numpy(operator.as_matrix())
        expected = oracles.spectral_norm(dense)
        assert bool(estimate.converged)
        np.testing.assert_allclose(estimate.value, expected, rtol=0.005)
        assert float(estimate.value) <= expected * (1 + 1e-5)
        np.testing.assert_allclose(
            stable_rank(operator, "operator", estimate=estimate),
            oracles.stable_rank(dense),
            rtol=0.01,
        )


def test_the_norm_of_ones_in_closed_form():
    # Theory, section 32: 7.85 with zeros around, 3 for the reshaped kernel.
    layer = layers.Conv2D(1, 3, padding="same", kernel_initializer="ones")
    layer.build((None, 6, 6, 1))
    operator = linear_operator(layer)
    estimate = spectral_norm(operator, tolerance=1e-4)
    np.testing.assert_allclose(estimate.value, 7.85085508, rtol=1e-6)
    np.testing.assert_allclose(spectral_norm(operator, "kernel").value, 3.0, rtol=1e-6)


def test_bias_and_activation_do_not_alter_the_norm():  # Trap 11.
    plain = layers.Dense(40, use_bias=False)
    full = layers.Dense(40, activation="relu", bias_initializer="ones")
    for layer in (plain, full):
        layer.build((None, 30))
        layer.kernel.assign(matrix(30, 40))
    plain, full = (spectral_norm(linear_operator(layer)) for layer in (plain, full))
    assert float(full.value) == float(plain.value)


def test_a_norm_is_no_eigenvalue():  # Trap 5.
    np.testing.assert_allclose(
        spectral_norm(np.full((20, 30), 2.0)).value, 2 * np.sqrt(600), rtol=1e-6
    )
    # Nilpotent: its eigenvalues are 0. And A^T A has 1 + 4 = 5 on the diagonal.
    shift = np.zeros((20, 20))
    shift[:2, 5] = 1.0, 2.0
    np.testing.assert_allclose(spectral_norm(shift).value, np.sqrt(5), rtol=1e-6)


def test_a_sum_over_an_axis_that_the_kernel_does_not_see_counts():
    # Sums 4 numbers, of norm 2, before the kernel.
    layer = layers.EinsumDense("abc,cd->ad", (30,))
    layer.build((None, 4, 20))
    layer.kernel.assign(matrix(20, 30))
    operator = linear_operator(layer)
    kernel, full = spectral_norm(operator, "kernel"), spectral_norm(operator)
    np.testing.assert_allclose(full.value, 2 * kernel.value, rtol=1e-6)
    np.testing.assert_allclose(
        full.value,
        oracles.spectral_norm(ops.convert_to_numpy(operator.as_matrix())),
        rtol=0.005,
    )


@pytest.mark.parametrize("shape", [(4, 4), (6, 2), (2, 6), (16, 40), (3, 5, 1, 7)])
def test_short_sides_are_solved_exactly_in_one_step(shape):
    estimate = spectral_norm(matrix(*shape), max_iterations=1)
    expected = oracles.spectral_norm(matrix(*shape))
    np.testing.assert_allclose(estimate.value, expected, rtol=2e-6)
    assert np.all(estimate.converged)


def test_a_stack_of_matrices_has_a_norm_each():
    stack = matrix(2, 3, 40, 30) * np.array([1e-25, 1.0, 1e15])[:, None, None]
    estimate = spectral_norm(stack)
    expected = oracles.spectral_norm(stack)
    assert estimate.value.shape == estimate.converged.shape == (2, 3)
    np.testing.assert_allclose(estimate.value, expected, rtol=0.005)


# How far it came, and from where it goes on. ---------------------------------


@pytest.mark.parametrize("max_iterations", [1, 2, 5, 20, 60])
def test_some_singular_value_lies_within_the_residual(max_iterations):
    array = matrix(60, 50, seed=max_iterations)
    singular = np.linalg.svd(array, compute_uv=False)
    estimate = spectral_norm(array, max_iterations=max_iterations, tolerance=1e-4)
    value, residual = float(estimate.value), float(estimate.residual)
    assert int(estimate.iterations) <= max_iterations
    assert np.min(np.abs(singular - value)) <= residual * value + 1e-5
    assert value <= singular[0] * (1 + 1e-6)


def test_what_has_not_converged_says_so():
    operator = convolution()
    first = spectral_norm(operator, max_iterations=1)
    assert not bool(first.converged)
    assert float(first.value) < 0.9 * float(spectral_norm(operator).value)


@pytest.mark.parametrize("which", ["operator", "kernel"])
def test_single_steps_from_a_warm_start_converge(which):
    operator = convolution(filters=24, channels=24)
    blocks = (
        operator.as_matrix() if which == "operator" else (operator.kernel_matrix()[0])
    )
    expected = oracles.spectral_norm(ops.convert_to_numpy(blocks))
    vectors, values = None, []
    for _ in range(40):
        step = spectral_norm(operator, which, start=vectors, max_iterations=1)
        vectors = step.vectors
        values.append(float(step.value))
    assert values[0] < 0.9 * expected
    np.testing.assert_allclose(values[-1], expected, rtol=0.005)
    warm = spectral_norm(operator, which, start=vectors)
    assert int(warm.iterations) < int(spectral_norm(operator, which).iterations)


def test_a_warm_start_follows_a_kernel_that_changes():
    operator = convolution()
    warm = spectral_norm(operator).vectors
    other = convolution(seed=1)
    expected = spectral_norm(other, tolerance=1e-3).value
    np.testing.assert_allclose(
        spectral_norm(other, start=warm).value, expected, rtol=0.005
    )


@pytest.mark.parametrize("which", ["operator", "kernel"])
def test_vectors_have_the_shape_of_the_start(which):
    operator = convolution(filters=24, channels=24)
    start = start_vectors(operator, which, num_vectors=3)
    expected = {"operator": (3, 6, 6, 24), "kernel": (1, 3, 24)}[which]
    assert start.shape == expected
    for max_iterations in (1, 5):
        estimate = spectral_norm(
            operator, which, start=start, max_iterations=max_iterations
        )
        assert tuple(estimate.vectors.shape) == expected


def test_the_seed_decides():
    operator = convolution()
    one, same, other = (spectral_norm(operator, seed=seed) for seed in (1, 1, 2))
    assert float(one.value) == float(same.value)
    np.testing.assert_array_equal(one.vectors, same.vectors)
    assert float(one.value) != float(other.value)
    # The same numbers on every backend.
    np.testing.assert_allclose(
        start_vectors(np.ones((100, 50)), seed=0)[0, :2],
        [1.117622, -1.387125],
        atol=1e-6,
    )


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_norms_of_low_rank_are_not_overestimated(rank):
    array = matrix(300, rank, seed=rank) @ matrix(rank, 200)
    expected = oracles.spectral_norm(array)
    for max_iterations in (1, 3, 100):
        value = float(spectral_norm(array, max_iterations=max_iterations).value)
        assert value <= expected * (1 + 1e-5)
    np.testing.assert_allclose(value, expected, rtol=0.005)


@pytest.mark.parametrize("angle", [1.0, 1e-1, 1e-2, 1e-3])
def test_a_step_finds_the_best_of_the_span_of_nearly_parallel_vectors(angle):
    array = matrix(60, 50)
    start = matrix(1, 50, seed=1) + angle * matrix(4, 50, seed=2)
    start = start.astype("float32")
    basis, _ = np.linalg.qr(start.T.astype("float64"))
    start *= np.float32([[1e-9], [1], [1e9], [1]])  # Lengths play no part.
    np.testing.assert_allclose(
        spectral_norm(array, start=start, max_iterations=1).value,
        oracles.spectral_norm(array @ basis),
        rtol=1e-3,
    )


def test_parallel_starting_vectors_do_no_harm():
    array = matrix(60, 50)
    start = np.tile(matrix(1, 50), (4, 1))
    expected = oracles.spectral_norm(array)
    for max_iterations in (1, 100):
        estimate = spectral_norm(array, start=start, max_iterations=max_iterations)
        assert float(estimate.value) <= expected * (1 + 1e-5)
    np.testing.assert_allclose(estimate.value, expected, rtol=0.005)


def test_a_start_of_zeros_finds_nothing_and_says_so():
    estimate = spectral_norm(matrix(60, 50), start=np.zeros((4, 50)))
    assert not bool(estimate.converged)


@pytest.mark.parametrize("which", ["operator", "kernel"])
@pytest.mark.parametrize("max_iterations", [1, 100])
def test_zero_kernels_have_norm_zero(which, max_iterations):
    zero = scaled(convolution(filters=24, channels=24), 0.0)
    estimate = spectral_norm(zero, which, max_iterations=max_iterations)
    assert float(estimate.value) == 0
    assert bool(estimate.converged)
    assert float(stable_rank(zero, which)) == 0
    # Training may leave zero again.
    other = convolution(filters=24, channels=24)
    again = spectral_norm(other, which, start=estimate.vectors)
    expected = spectral_norm(other, which).value
    np.testing.assert_allclose(again.value, expected, rtol=0.005)


@pytest.mark.parametrize("which", ["operator", "kernel"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_kernel_with_nan_gives_nan_and_healthy_vectors(bad, which):
    operator = convolution(groups=4)
    scale = np.ones(8)
    scale[3] = bad
    estimate = spectral_norm(operator.scaled(scale), which)
    assert np.isnan(estimate.value)
    assert not bool(estimate.converged)
    assert np.all(np.isfinite(estimate.vectors))


@pytest.mark.parametrize("max_iterations", [1, 100])
def test_a_block_with_nan_is_not_left_out_by_xla(max_iterations):
    operator = convolution(groups=4)  # One of whose blocks has NaN.
    kernel = ops.convert_to_numpy(operator.kernel).copy()
    kernel[0, 0, 0, 3] = np.nan

    def norm(kernel):
        broken = dataclasses.replace(operator, kernel=kernel)
        return spectral_norm(broken, "kernel", max_iterations=max_iterations)[:2]

    value, converged = backend.jit(norm, xla=True)(kernel)
    assert np.isnan(value) and not bool(converged)


@pytest.mark.parametrize("which", ["operator", "kernel"])
@pytest.mark.parametrize("factor", [1e-25, 1e25])
def test_scaling_scales_the_norm_and_leaves_the_stable_rank(which, factor):
    operator = convolution(filters=24, channels=24)
    np.testing.assert_allclose(
        spectral_norm(scaled(operator, factor), which).value,
        factor * spectral_norm(operator, which).value,
        rtol=1e-4,
    )
    np.testing.assert_allclose(
        stable_rank(scaled(operator, factor), which),
        stable_rank(operator, which),
        rtol=1e-4,
    )


def test_half_precision_kernels_give_float32():  # Trap 18.
    operator = convolution(dtype="float16")
    for which in ("operator", "kernel"):
        estimate = spectral_norm(operator, which)
        assert keras.backend.standardize_dtype(estimate.value.dtype) == "float32"
    dense = ops.convert_to_numpy(operator.as_matrix())
    estimate = spectral_norm(operator, tolerance=1e-4)
    np.testing.assert_allclose(estimate.value, oracles.spectral_norm(dense), rtol=1e-5)


# Inside compiled functions. --------------------------------------------------


@pytest.mark.parametrize(
    "xla, max_iterations", [(True, 1), (True, 30), (False, 1), (False, 30)]
)
def test_it_runs_in_a_compiled_step_on_todays_weights(xla, max_iterations):
    layer = layers.Conv2D(20, 3, strides=2, padding="same")
    layer.build((None, 6, 6, 3))
    layer.kernel.assign(matrix(3, 3, 3, 20))

    def norms(values):
        with backend.stateless(layer.variables, values):
            operator = linear_operator(layer)
            found = []
            for which in ("operator", "kernel"):
                estimate = spectral_norm(operator, which, max_iterations=max_iterations)
                found += [
                    estimate.value,
                    estimate.residual,
                    stable_rank(operator, which, estimate=estimate),
                    frobenius_norm(operator, which),
                ]
            return found

    compiled = backend.jit(norms, xla=xla)
    values = backend.values(layer.variables)
    twice = ops.convert_to_numpy(compiled([2 * value for value in values]))
    once = ops.convert_to_numpy(compiled(values))
    np.testing.assert_allclose(once, norms(values), rtol=2e-3)
    np.testing.assert_allclose(twice / once, [2, 1, 1, 2] * 2, rtol=2e-3)


# The stable rank. ------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 4), (6, 2), (2, 6)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_stable_rank_matches_norms(shape, seed):
    array = matrix(*shape, seed=seed)
    expected = oracles.stable_rank(array)
    np.testing.assert_allclose(stable_rank(array), expected, rtol=1e-5)
    np.testing.assert_allclose(
        stable_rank(array, unsquared=True), np.sqrt(expected), rtol=1e-5
    )


def test_stable_rank_of_an_orthogonal_kernel_is_its_size():
    layer = layers.Dense(32, kernel_initializer="orthogonal")
    layer.build((None, 48))
    rank = stable_rank(linear_operator(layer))
    np.testing.assert_allclose(rank, 32.0, rtol=1e-5)


@pytest.mark.parametrize("rank", [1, 3, 20])
def test_stable_rank_lies_between_one_and_the_rank(rank):
    array = matrix(40, rank, seed=rank) @ matrix(rank, 50)
    assert 1 - 1e-5 <= float(stable_rank(array)) <= rank + 1e-3


def test_stable_rank_does_not_change_with_a_basis():
    array = matrix(40, 30)
    basis, _ = np.linalg.qr(matrix(40, 40))
    np.testing.assert_allclose(
        stable_rank(basis @ array, tolerance=1e-4),
        stable_rank(array, tolerance=1e-4),
        rtol=1e-4,
    )


# Bad input. ------------------------------------------------------------------


def test_errors_say_what_came():
    operator = convolution()
    with pytest.raises(ValueError, match="Received: matrix='conv'"):
        spectral_norm(operator, "conv")
    with pytest.raises(ValueError, match="Received: max_iterations=0"):
        spectral_norm(operator, max_iterations=0)
    with pytest.raises(ValueError, match="Received: num_vectors=0"):
        spectral_norm(operator, num_vectors=0)
    with pytest.raises(ValueError, match=r"Received: start.shape=\(4, 6, 6, 3\)"):
        spectral_norm(operator, start=np.zeros((4, 6, 6, 3)))
    with pytest.raises(ValueError, match=r"Received: start.shape=\(\)"):
        spectral_norm(operator, start=1.0)
    layer = layers.Conv1D(2, 3)
    layer.build((None, None, 4))
    with pytest.raises(ValueError, match=r"Received: input_shape=\(None, 4\)"):
        spectral_norm(linear_operator(layer))
    assert bool(spectral_norm(linear_operator(layer), "kernel").converged)
