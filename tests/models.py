"""The few tiny models that the tests share."""

import keras
import numpy as np
from keras import layers
from keras import ops


def images(samples=20, seed=0):
    """Returns `(x, y)`: 8 by 8 images and labels out of 3 classes."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(samples, 8, 8, 1)).astype("float32")
    return x, generator.integers(0, 3, samples)


def randomize(model, seed=0):
    """Gives every weight a random value: biases and moving averages too."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        value = generator.normal(size=weight.shape) / 2
        if "variance" in weight.path:
            value = np.exp(value)
        if weight.dtype.startswith(("float", "bfloat")):
            weight.assign(value)
    return model


def dense():
    """Two dense layers, the first with a hidden activation."""
    return randomize(
        keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(5, activation="relu", name="first"),
                layers.Dense(3, name="second"),
            ]
        )
    )


def convolutional():
    """Convolution, batch norm, ReLU, pooling, dense."""
    return randomize(
        keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Conv2D(4, 3, padding="same", name="conv"),
                layers.BatchNormalization(name="norm"),
                layers.ReLU(name="relu"),
                layers.MaxPooling2D(name="pool"),
                layers.Conv2D(4, 3, strides=2, activation="relu", name="conv2"),
                layers.Flatten(name="flat"),
                layers.Dropout(0.5, name="drop"),
                layers.Dense(3, name="logits"),
            ]
        )
    )


def residual():
    """A skip over a convolution, with `keras.ops` nodes."""
    inputs = keras.Input((8, 8, 1))
    stem = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    x = ops.relu(stem)
    x = layers.Conv2D(4, 3, padding="same", name="branch")(x)
    x = ops.relu(x + stem)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    return randomize(keras.Model(inputs, layers.Dense(3, name="logits")(x)))


def nested():
    """A model inside a model, with a layer of the same name in each."""
    inner_inputs = keras.Input((6,))
    hidden = layers.Dense(6, activation="relu", name="dense")(inner_inputs)
    inner = keras.Model(inner_inputs, hidden, name="inner")
    inputs = keras.Input((6,))
    return randomize(keras.Model(inputs, layers.Dense(3, name="dense")(inner(inputs))))


def shared():
    """One layer that is called twice."""
    inputs = keras.Input((6,))
    layer = layers.Dense(6, activation="relu", name="shared")
    outputs = layers.Dense(3, name="logits")(layer(layer(inputs)))
    return randomize(keras.Model(inputs, outputs))


@keras.saving.register_keras_serializable("tf_genbounds_tests")
class Subclassed(keras.Model):
    """Layers in attributes and a list; its ReLU is no layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = layers.Dense(6, activation="relu", name="first")
        self.others = [layers.Dense(6, name="second")]
        self.drop = layers.Dropout(0.5)
        self.last = layers.Dense(3, name="third")

    def call(self, x):
        x = self.drop(self.first(x))
        return self.last(ops.relu(self.others[0](x)))


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 6), "float32"))
    return randomize(model)


def two_outputs():
    """A dict of outputs, one with a softmax."""
    inputs = keras.Input((6,))
    return keras.Model(
        inputs,
        {
            "main": layers.Dense(3, name="main")(inputs),
            "head": layers.Dense(2, "softmax", name="head")(inputs),
        },
    )


def random_architecture(seed):
    """A network of random depth, widths, strides, paddings, skips and biases.

    Returns:
        A pair `(model, input_shape)`.
    """
    generator = np.random.default_rng(seed)
    shape = (*generator.integers(7, 11, 2), generator.integers(1, 4))
    inputs = x = keras.Input(tuple(map(int, shape)))
    for _ in range(generator.integers(1, 4)):
        width = int(generator.integers(2, 6))
        x = layers.Conv2D(
            width,
            int(generator.integers(1, 4)),
            strides=int(generator.integers(1, 3)),
            padding="same",
            use_bias=bool(generator.integers(2)),
        )(x)
        if generator.integers(2):
            x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
        if generator.integers(2):
            skip = x
            x = layers.Conv2D(width, 3, padding="same")(x)
            x = layers.ReLU()(layers.Add()([x, skip]))
        if generator.integers(2):
            x = layers.MaxPooling2D(2, padding="same")(x)
    x = layers.Flatten()(x)
    for _ in range(generator.integers(0, 3)):
        width = int(generator.integers(3, 9))
        x = layers.Dense(width, activation="relu")(x)
    model = keras.Model(inputs, layers.Dense(3)(x))
    return randomize(model, seed), tuple(map(int, shape))


ALL = [dense, convolutional, residual, nested, shared, subclassed]


def data(model, samples=20, seed=0):
    """Returns `(x, y)` of the model's input shape, and 3 classes."""
    images_, y = images(samples, seed)
    if model.name.startswith("subclassed") or model.input_shape[1:] == (6,):
        return images_.reshape(samples, -1)[:, :6], y
    return images_, y
