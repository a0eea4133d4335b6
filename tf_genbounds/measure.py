"""`measure`: the noise stability of a finished model, in one call."""


from tf_genbounds.measurer import Measurer


def measure(
    model,
    data,
    *,
    quantities=None,
    layers=None,
    num_samples=None,
    batch_size=128,
    bias="ignore",
    seed=0,
    verbose="auto",
):
    """Measures how stable a trained model is to noise, layer by layer.

    The model runs in inference mode and in float32, whatever its dtype policy,
    and is not changed. A softmax or sigmoid at its end is removed; a batch
    normalization directly after a linear map is folded into the map. The data
    is read once, and memory grows with the batch, not with the data (but for
    one float per sample, layer and quantity).

    Args:
        model: A built Keras model: Sequential, Functional or subclassed.
        data: A pair of arrays `(x, y)`, a `tf.data.Dataset` or a
            `keras.utils.PyDataset` of batches, or `x` alone, which leaves out
            the margins. Labels are class indices or one-hot.
        quantities: List of names out of `"spectral_norm"`,
            `"frobenius_norm"`, `"stable_rank"`, `"layer_cushion"`,
            `"activation_contraction"` and `"margins"` (which brings the train
            error), or `None` for all. The first two come with both matrices
            of a convolution, see `LayerMeasurements`.
        layers: List of layer names, or `None` for every linear layer.
        num_samples: Integer, measure only the first samples; `None`: all.
        batch_size: Integer, for arrays. Defaults to `128`.
        bias: `"ignore"` measures the kernel of a layer with a bias, as the
            compression paper does; `"error"` refuses such a layer. The mode
            is in the result's `settings`.
        seed: Integer, for the start of the power iterations.
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
        model, quantities=quantities, layers=layers, bias=bias, seed=seed
    )
    return measurer(
        data, num_samples=num_samples, batch_size=batch_size, verbose=verbose
    )
