"""`measure`: the noise stability of a finished model, in one call."""

from collections.abc import Sequence
from typing import Any

import keras

from tf_genbounds.measure.measurements import Measurements
from tf_genbounds.measure.measurer import Measurer


def measure(
    model: keras.Model,
    data: Any,
    *,
    quantities: Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
    output: int | str | None = None,
    threshold: float | None = None,
    num_samples: int | None = None,
    num_probes: int = 16,
    exact: bool = False,
    noise: str = "projection",
    num_draws: int = 4,
    initial_weights: Any = None,
    batch_size: int = 128,
    bias: str = "ignore",
    seed: int = 0,
    jit_compile: bool = False,
    verbose: int | str = "auto",
) -> Measurements:
    """Measures how stable a trained model is to noise, layer by layer.

    The model runs in inference mode and in float32, whatever its dtype policy,
    and is not changed. A softmax or sigmoid at its end is removed; a batch
    normalization directly after a linear map is folded into the map. The data
    is read once, and memory grows with the batch, not with the data (but for
    one float per sample, layer and quantity).

    What is between two layers, the interlayer quantities, costs many passes:
    for `d` layers, about `num_probes * d / 2` forward and backward passes for
    the cushions, and `5 * num_draws * d` forward passes for the smoothness.
    Measure it on few samples (`num_samples`), or leave it out (`quantities`).

    Args:
        model: A built Keras model: Sequential, Functional or subclassed.
        data: A pair of arrays `(x, y)`, a `tf.data.Dataset` or a
            `keras.utils.PyDataset` of batches, or `x` alone, which leaves out
            the margins. `x` is an array or DataFrame, or a dict or list of them
            for several inputs. Labels are class indices or one-hot, for several
            outputs a dict by name or a list. Batches of images of other sizes:
            operators are of the largest, `input_shape`.
        quantities: List of names, or `None` for all. Of weights:
            `"spectral_norm"`, `"frobenius_norm"`, `"stable_rank"`, which come
            with both matrices of a convolution, and `"unit_norms"`, see
            `LayerMeasurements`. Of samples: `"layer_cushion"`,
            `"activation_contraction"`, `"margins"` (which brings the train
            error). Of pairs of layers: `"interlayer_cushion"` and
            `"jacobian_spread"` (either brings both) and
            `"interlayer_smoothness"`.
        layers: List of layer names, or `None` for every linear layer.
        output: Name or index of the output that the margins are of, for a
            model with several.
        threshold: Float, for a model with one output: class 1 is what exceeds it.
            Defaults to 0.5 after a sigmoid and 0 for logits; needed where the end
            of the model does not say which. Margins are then of the output.
        num_samples: Integer, measure only the first samples; `None`: all.
        num_probes: Integer, random vectors by which `||J||_F` is estimated.
            For a layer with no more outputs it is exact. The least of estimated
            cushions may be some percent too large, see `PairMeasurements`.
        exact: Boolean, whether `||J||_F` is exact everywhere, at the cost of
            a backward pass for each output of each layer.
        noise: What moves the pre-activations for the smoothness.
            `"projection"`: the kernels up to the layer (in every second draw,
            before it) are replaced by their projections on as many random
            Gaussian matrices as they have entries, as the compression paper's
            algorithm 1 does. `"gaussian"`: a cheap proxy, Gaussian noise of a
            tenth of the norm.
        num_draws: Integer, draws of that noise.
        initial_weights: What the weights were before training: a list of
            arrays as `get_weights` returns it, or the path of a saved model or
            of its weights. Brings `distance_from_init` and
            `layer_cushion_from_init`.
        batch_size: Integer, for arrays. Defaults to `128`.
        bias: `"ignore"` measures the kernel of a layer with a bias, as the
            compression paper does, and names it in the result's `notes`;
            `"error"` refuses such a layer. The mode is in the result's `settings`.
        seed: Integer, of all that is random; the same on every backend.
        jit_compile: Boolean, whether to compile with XLA on TensorFlow, as a
            TPU needs. On a CPU graph mode is quicker.
        verbose: 0 (silent), 1 (progress bar) or `"auto"`: a bar on a terminal.

    Returns:
        `Measurements`.

    Raises:
        ValueError: If the model is not built or has no linear layer, if a name
            is unknown, or if the data does not fit.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((2,)), keras.layers.Dense(2, use_bias=False)]
    ... )
    >>> model.layers[0].set_weights([np.diag([1.0, 2.0])])
    >>> result = measure(model, np.array([[3.0, 1.0]]))
    >>> layer = result.layers["dense"]
    >>> round(layer.stable_rank, 4), round(layer.layer_cushion, 4)
    (1.25, 0.5099)

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296)
    """
    measurer = Measurer(
        model,
        quantities=quantities,
        layers=layers,
        output=output,
        threshold=threshold,
        bias=bias,
        num_probes=num_probes,
        exact=exact,
        noise=noise,
        num_draws=num_draws,
        initial_weights=initial_weights,
        seed=seed,
        jit_compile=jit_compile,
    )
    return measurer(
        data, num_samples=num_samples, batch_size=batch_size, verbose=verbose
    )
