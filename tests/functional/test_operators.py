import functools

import keras
import numpy as np
import oracles
import pytest
from keras import layers
from keras import ops
from linear_layers import EQUATIONS
from linear_layers import KINDS
from linear_layers import linear_layer

from tf_genbounds import backend
from tf_genbounds.functional import operators
from tf_genbounds.functional.operators import frobenius_norm
from tf_genbounds.functional.operators import linear_operator
from tf_genbounds.functional.operators import unsupported_reason

# JAX compiles every operation for every shape, which is what takes the time.
SEEDS = range(3 if backend.name == "tensorflow" else 1)


@functools.cache
def case(kind, seed):
    """A random layer, its operator, and its matrix by the oracle."""
    layer, shape = linear_layer(kind, seed)
    return layer, linear_operator(layer), oracles.layer_matrix(layer, shape)


def built(layer, *shape, seed=0):
    layer.build((None, *shape))
    generator = np.random.default_rng(seed)
    for weight in layer.weights:
        weight.assign(generator.normal(size=weight.shape))
    return layer


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, "float32")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_matrix_is_that_of_the_layer_without_bias_and_activation(kind, seed):
    _, operator, expected = case(kind, seed)
    matrix = backend.jit(operator.as_matrix)()
    assert tuple(matrix.shape) == expected.shape
    np.testing.assert_allclose(matrix, expected, atol=2e-5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_rmatvec_is_the_adjoint(kind, seed):
    _, operator, matrix = case(kind, seed)
    y = normal(2, *operator.output_shape)
    back = ops.convert_to_numpy(backend.jit(operator.rmatvec)(y))
    assert back.shape == (2, *operator.input_shape)
    expected = y.reshape(2, -1) @ matrix
    np.testing.assert_allclose(back.reshape(2, -1), expected, atol=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_frobenius_norms_match_the_matrices(kind, seed):
    layer, operator, matrix = case(kind, seed)
    np.testing.assert_allclose(
        frobenius_norm(operator, "operator"),
        oracles.frobenius_norm(matrix),
        rtol=1e-5,
    )
    kernel = getattr(layer, "kernel", operator.kernel_matrix())
    expected = oracles.frobenius_norm(ops.convert_to_numpy(kernel))
    np.testing.assert_allclose(frobenius_norm(operator), expected, rtol=1e-5)
    np.testing.assert_allclose(
        oracles.frobenius_norm(ops.convert_to_numpy(operator.kernel_matrix())),
        expected,
        rtol=1e-5,
    )


@pytest.mark.parametrize("index", range(len(EQUATIONS)))
def test_every_einsum_has_its_matrix(index):
    equation, shape, outputs = EQUATIONS[index]
    layer = built(layers.EinsumDense(equation, outputs), *shape)
    expected = oracles.layer_matrix(layer, shape)
    operator = linear_operator(layer)
    np.testing.assert_allclose(operator.as_matrix(), expected, atol=1e-5)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_causal_padding_is_in_front(data_format):
    layer = layers.Conv1D(
        2, 3, padding="causal", dilation_rate=2, data_format=data_format
    )
    layer = built(layer, *((4, 1) if data_format == "channels_last" else (1, 4)))
    np.testing.assert_allclose(
        linear_operator(layer).as_matrix(),
        oracles.layer_matrix(layer, linear_operator(layer).input_shape),
        atol=1e-5,
    )


@pytest.mark.parametrize("stride, expected", [(1, 16.0), (2, 8.0)])
def test_frobenius_norm_of_ones(stride, expected):
    # Theory, section 32: squared, 256 and 64.
    layer = layers.Conv2D(
        1, 3, strides=stride, padding="same", kernel_initializer="ones"
    )
    layer.build((None, 6, 6, 1))
    assert float(frobenius_norm(linear_operator(layer), "operator")) == expected


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_frobenius_norm_neither_underflows_nor_overflows(scale):
    matrix = np.full((3, 4, 4), scale, "float32")
    np.testing.assert_allclose(frobenius_norm(matrix), [4 * scale] * 3, rtol=1e-6)
    layer = built(layers.Conv1D(1, 2, kernel_initializer="ones"), 5, 1)
    layer.kernel.assign(np.full((2, 1, 1), scale))
    np.testing.assert_allclose(  # 4 outputs of 2 taps.
        frobenius_norm(linear_operator(layer), "operator"),
        np.sqrt(8) * scale,
        rtol=1e-6,
    )


def test_frobenius_norm_of_zeros_is_zero():
    np.testing.assert_array_equal(frobenius_norm(np.zeros((2, 3, 3))), [0, 0])


# With an image of the size of the taps, a `valid` convolution has one output
# pixel, and its operator is the kernel matrix. -------------------------------


@pytest.mark.parametrize("groups", [1, 2])
def test_kernel_matrix_is_the_operator_on_one_patch(groups):
    layer = built(layers.Conv2D(4, (2, 3), groups=groups), 2, 3, 2)
    operator = linear_operator(layer)
    blocks = ops.convert_to_numpy(operator.kernel_matrix())
    assert blocks.shape == (groups, 4 // groups, 2 * 3 * 2 // groups)
    dense = ops.convert_to_numpy(operator.as_matrix()).reshape(4, 6, 2)
    per_group = 4 // groups
    for g, block in enumerate(blocks):
        rows = dense[g * per_group : (g + 1) * per_group]
        channels = slice(None) if groups == 1 else slice(g, g + 1)
        np.testing.assert_allclose(
            rows[:, :, channels].reshape(per_group, -1), block, rtol=1e-6
        )
    if groups == 1:
        np.testing.assert_array_equal(
            blocks[0],
            oracles.convolution_matrix(ops.convert_to_numpy(layer.kernel)),
        )


def test_kernel_matrix_of_a_depthwise_convolution_has_a_block_a_channel():
    layer = built(layers.DepthwiseConv1D(3, depth_multiplier=2), 3, 4)
    operator = linear_operator(layer)
    blocks = ops.convert_to_numpy(operator.kernel_matrix())
    dense = ops.convert_to_numpy(operator.as_matrix()).reshape(4, 2, 3, 4)
    expected = [dense[c, :, :, c] for c in range(4)]
    np.testing.assert_allclose(blocks, expected, rtol=1e-6)


def test_kernel_matrix_of_a_transposed_convolution_is_that_of_the_convolution():
    layer = built(layers.Conv1DTranspose(2, 3), 1, 4)
    operator = linear_operator(layer)
    np.testing.assert_allclose(
        operator.kernel_matrix()[0], ops.transpose(operator.as_matrix()), rtol=1e-6
    )


@pytest.mark.parametrize(
    "equation, shape, outputs, blocks",
    [
        ("abc,bcd->abd", (2, 4), (2, 3), (2, 3, 4)),
        ("abc,cde->abde", (2, 4), (None, 2, 3), (1, 6, 4)),
        ("abde,cde->abc", (2, 2, 3), (None, 4), (1, 4, 6)),
        ("abc,c->abc", (2, 4), (None, 4), (4, 1, 1)),
    ],
)
def test_kernel_matrix_of_an_einsum(equation, shape, outputs, blocks):
    layer = built(layers.EinsumDense(equation, outputs), *shape)
    assert tuple(linear_operator(layer).kernel_matrix().shape) == blocks


# A batch normalization after the layer. --------------------------------------


@pytest.mark.parametrize(
    "layer, shape",
    [
        (layers.Dense(3), (2, 4)),
        (layers.EinsumDense("abc,cde->abde", (None, 2, 3)), (2, 4)),
        (layers.Conv2D(4, 2, groups=2, dilation_rate=2), (5, 4, 2)),
        (layers.Conv1D(3, 2, data_format="channels_first"), (2, 4)),
        (layers.SeparableConv1D(3, 2, depth_multiplier=2), (4, 2)),
        (layers.DepthwiseConv2D(2, depth_multiplier=3), (3, 3, 2)),
        (layers.Conv2DTranspose(3, 2, strides=2), (3, 2, 2)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_scaled_multiplies_the_output_channels(layer, shape):
    operator = linear_operator(built(layer, *shape))
    axis = operator.channel_axis
    outputs = (1, *operator.output_shape)
    scale = normal(outputs[axis])
    broadcast = [1] * len(outputs)
    broadcast[axis] = -1
    x = normal(2, *shape)
    expected = ops.convert_to_numpy(operator.matvec(x)) * scale.reshape(broadcast)
    np.testing.assert_allclose(operator.scaled(scale).matvec(x), expected, atol=1e-5)


def test_scaled_refuses_channels_that_do_not_index_the_kernel():
    layer = layers.EinsumDense("abc,bd->adc", (3, 4))
    operator = linear_operator(built(layer, 2, 4))
    with pytest.raises(ValueError, match="no channel index"):
        operator.scaled(np.ones(4))
    operator = linear_operator(built(layers.Dense(3), 2))
    with pytest.raises(ValueError, match=r"Received: scale.shape=\(2,\)"):
        operator.scaled(np.ones(2))


# What is read, and when. -----------------------------------------------------


def test_lora_is_part_of_the_kernel():
    layer = built(layers.Dense(4), 6)
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(normal(2, 4))
    expected = oracles.layer_matrix(layer, (6,))
    np.testing.assert_allclose(linear_operator(layer).as_matrix(), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16", "float64"])
def test_every_policy_is_measured_in_float32(dtype):  # Trap 18.
    layer = built(layers.Conv1D(2, 2, dtype=dtype), 4, 3)
    operator = linear_operator(layer)
    found = [
        operator.kernel_matrix(),
        operator.as_matrix(),
        frobenius_norm(operator),
        frobenius_norm(operator, "operator"),
    ]
    assert {keras.backend.standardize_dtype(t.dtype) for t in found} == {"float32"}


@pytest.mark.parametrize("kind", ["Conv2D", "Conv2DTranspose", "SeparableConv2D"])
def test_compiled_functions_read_the_values_of_the_scope(kind):
    layer, shape = linear_layer(kind, 2)
    variables = list(layer.variables)
    zeros = [ops.zeros(v.shape) for v in variables]
    x = ops.convert_to_tensor(normal(2, *shape))

    def outputs(values):
        with backend.stateless(variables, values):
            return linear_operator(layer).matvec(x)

    compiled = backend.jit(outputs, xla=True)
    expected = linear_operator(layer).matvec(x)
    assert np.max(np.abs(expected)) > 0.1
    np.testing.assert_allclose(compiled(backend.values(variables)), expected, atol=1e-4)
    np.testing.assert_array_equal(compiled(zeros), np.zeros(expected.shape))


def test_layers_of_the_same_options_share_a_structure():
    def structure(stride):
        layer = built(layers.Conv1D(2, 2, strides=stride), 5, 3)
        return linear_operator(layer).structure

    assert {structure(1): "found"}[structure(1)] == "found"
    assert structure(1) != structure(2)


def test_unknown_sizes_leave_the_kernel():
    layer = built(layers.Conv1D(2, 3, padding="same"), None, 4)
    operator = linear_operator(layer)
    assert tuple(operator.kernel_matrix().shape) == (1, 2, 12)
    with pytest.raises(ValueError, match=r"Received: input_shape=\(None, 4\)"):
        frobenius_norm(operator, "operator")
    operator = linear_operator(layer, (5, 4))
    np.testing.assert_allclose(
        frobenius_norm(operator, "operator"),
        oracles.frobenius_norm(oracles.layer_matrix(layer, (5, 4))),
        rtol=1e-5,
    )


# What is refused, and by what name. ------------------------------------------


class Standardized(layers.Conv2D):
    def call(self, inputs):
        return super().call(inputs) / 2


class Masked(layers.Dense):
    @property
    def kernel(self):
        return super().kernel * 0.0


class Renamed(layers.Conv2D):
    """Overrides nothing that matters."""

    def get_config(self):
        return super().get_config()


def test_reasons():
    assert unsupported_reason(Renamed(1, 1)) is None
    for layer, reason in [
        (Standardized(1, 1), "Standardized overrides `call` of Conv2D"),
        (Masked(1), "Masked overrides `kernel` of Dense"),
        (layers.LSTM(1), "LSTM is not a linear layer"),
        (
            layers.EinsumDense("abc,cde->abd", (None, 2)),
            "a kernel index is summed out in its equation abc,cde->abd",
        ),
        (
            layers.EinsumDense("ab,bc->ca", 2),
            "its equation ab,bc->ca mixes the examples of a batch",
        ),
        (
            layers.EinsumDense("ab,ac->bc", 2),
            "its equation ab,ac->bc mixes the examples of a batch",
        ),
        (
            layers.EinsumDense("abb,bc->ac", 2),
            "an index repeats in its equation abb,bc->ac",
        ),
    ]:
        assert unsupported_reason(layer) == reason


def test_quantized_layers_are_refused():
    layer = built(layers.Dense(4), 4)
    layer.quantize("int8")
    assert unsupported_reason(layer) == "it is quantized (int8)"


def test_errors_name_the_layer():
    with pytest.raises(ValueError, match='"odd" is not supported: Standardized'):
        linear_operator(Standardized(1, 1, name="odd"))
    with pytest.raises(ValueError, match='"young" has no weights yet'):
        linear_operator(layers.Dense(1, name="young"))
    with pytest.raises(ValueError, match="Received: matrix='kernels'"):
        frobenius_norm(np.eye(2), "kernels")
    with pytest.raises(ValueError, match=r"Received: shape=\(2,\)"):
        frobenius_norm(np.ones(2))


def test_linear_layers_are_those_of_keras():
    assert set(KINDS) == {kind.__name__ for kind in operators.LINEAR_LAYERS}
