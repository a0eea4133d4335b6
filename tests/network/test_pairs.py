import keras
import models
import numpy as np
import pytest
from keras import layers
from keras import ops

from tf_genbounds.network import Network


def pairs(model):
    return {
        names: (pair.cut, pair.normalized)
        for names, pair in Network.of(model).pairs.items()
    }


@pytest.mark.parametrize(
    "make", [models.dense, models.convolutional, models.shared, models.subclassed]
)
def test_every_pair_of_a_chain_is_a_cut(make):
    network = Network.of(make())
    names = list(network.maps)
    found = network.pairs
    assert list(found) == [
        (names[i], names[j]) for j in range(len(names)) for i in range(j)
    ]
    assert all(p.cut and not p.normalized for p in found.values())


def test_a_skip_goes_around_its_branch():
    assert pairs(models.residual()) == {
        ("stem", "branch"): (True, False),
        ("stem", "logits"): (True, False),
        ("branch", "logits"): (False, False),
    }


class Skip(keras.Model):
    """A skip connection that is no layer."""

    def __init__(self):
        super().__init__()
        self.a = layers.Dense(4, name="a")
        self.b = layers.Dense(4, name="b")
        self.c = layers.Dense(3, name="c")

    def call(self, x):
        x = self.a(x)
        return self.c(x + ops.relu(self.b(x)))


def test_a_skip_in_the_code_of_a_subclassed_model():
    model = Skip()
    model(np.ones((1, 6), "float32"))
    assert pairs(model) == {
        ("a", "b"): (True, False),
        ("a", "c"): (True, False),
        ("b", "c"): (False, False),
    }


def test_branches_do_not_reach_each_other():
    one, two = keras.Input((3,), name="one"), keras.Input((3,), name="two")
    a = layers.Dense(4, activation="relu", name="a")(one)
    b = layers.Dense(4, activation="relu", name="b")(two)
    joint = layers.Concatenate()([a, b])
    model = keras.Model([one, two], layers.Dense(3, name="c")(joint))
    assert pairs(model) == {("a", "c"): (False, False), ("b", "c"): (False, False)}


class Sized(keras.Model):
    """Takes the shape, and nothing more, of its input around a layer."""

    def __init__(self):
        super().__init__()
        self.a = layers.Dense(4, name="a")
        self.b = layers.Dense(3, name="b")

    def call(self, x):
        return self.b(ops.zeros_like(x[:, :4]) + self.a(x))


def test_the_shape_of_a_tensor_is_no_path():
    model = Sized()
    model(np.ones((1, 6), "float32"))
    assert pairs(model) == {("a", "b"): (True, False)}


@pytest.mark.parametrize(
    "normalization",
    [
        layers.LayerNormalization(),
        layers.GroupNormalization(2),
        layers.RMSNormalization(),
        layers.UnitNormalization(),
    ],
)
def test_normalization_of_each_example(normalization):
    inputs = keras.Input((6,))
    a = layers.Dense(4, name="a")(inputs)
    x = normalization(a)
    b = layers.Dense(4, name="b")(x)
    model = keras.Model(inputs, layers.Dense(3, name="c")(layers.Add()([x, b])))
    assert pairs(model) == {
        ("a", "b"): (True, True),
        ("a", "c"): (True, True),
        ("b", "c"): (False, False),
    }


def test_a_path_around_a_normalization():
    inputs = keras.Input((6,))
    a = layers.Dense(4, name="a")(inputs)
    x = layers.Add()([a, layers.LayerNormalization()(a)])
    model = keras.Model(inputs, layers.Dense(3, name="b")(x))
    assert pairs(model) == {("a", "b"): (True, False)}


def test_constants_of_the_network_are_no_inputs():
    # `Normalization` holds tensors, which TensorFlow captures.
    inputs = keras.Input((6,))
    x = layers.Normalization(mean=np.ones(6), variance=np.ones(6))(inputs)
    x = layers.Dense(4, activation="relu", name="a")(x)
    x = layers.Normalization(mean=np.ones(4), variance=np.ones(4))(x)
    x = layers.Dense(4, activation="relu", name="b")(x)
    model = keras.Model(inputs, layers.Dense(3, name="c")(x))
    assert pairs(model) == {
        ("a", "b"): (True, False),
        ("a", "c"): (True, False),
        ("b", "c"): (True, False),
    }
