"""What a classifier decides, by what its `predict` returns, and how often wrongly."""

import dataclasses

import keras
import numpy as np

from tf_genbounds import backend
from tf_genbounds.data.batches import Batch
from tf_genbounds.data.batches import batches
from tf_genbounds.data.batches import class_indices
from tf_genbounds.data.forms import are_strings
from tf_genbounds.network.example_wise import check_example_wise
from tf_genbounds.network.model import check_shapes
from tf_genbounds.network.network import Network


@dataclasses.dataclass(frozen=True)
class Decision:
    """How the outputs of a model become a class.

    Attributes:
        threshold: Float: class 1 is decided for if the one output exceeds it, class
            0 if it is below. `None`: the class is that of the largest of several
            outputs. A tie and NaN are wrong, whatever the label.

    Example:

    >>> Decision().right(np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([0, 0]))
    array([ True, False])
    >>> Decision(0.5).right(np.array([[0.7], [0.2]]), np.array([1, 1]))
    array([ True, False])
    """

    threshold: float | None = None

    def right(self, outputs, labels):
        """Says which examples are decided rightly.

        Args:
            outputs: Float array of shape `(samples, classes)`, of `predict`.
            labels: Integer array of shape `(samples,)`, class indices.

        Returns:
            Boolean array of shape `(samples,)`.
        """
        if self.threshold is not None:
            # In the precision of the outputs: 0.3 as float32 is no more than 0.3.
            threshold = np.asarray(self.threshold, outputs.dtype)
            output = outputs[:, 0]
            return np.where(labels == 1, output > threshold, output < threshold)
        own = np.arange(outputs.shape[1]) == labels[:, None]
        score = np.max(np.where(own, outputs, -np.inf), axis=1)
        rival = np.max(np.where(own, -np.inf, outputs), axis=1)
        return score > rival  # Both are NaN if an output of theirs is.

    def __str__(self):
        if self.threshold is None:
            return "its class is that of the largest output, and a tie is wrong"
        return (
            f"its class is 1 where the output exceeds {self.threshold:g} and 0 where "
            "it is below, and a tie is wrong"
        )


def decision_of(network, threshold=None):
    """Returns the `Decision` of a network, which its end says.

    Several outputs: the largest. One output: 1/2 for probabilities, 0 for logits.

    Args:
        network: `Network`.
        threshold: Float, for one output; it overrules the end.

    Raises:
        ValueError: If the outputs are no matrix, if the model has one output whose
            rule cannot be seen, or a threshold is given for several.
    """
    network.check_classifier()
    classes = network.output_shapes[network.output][1]
    if threshold is not None:
        if classes != 1:
            raise ValueError(
                "`threshold` is for one output; of several the largest decides. "
                f"Received: threshold={threshold}, {classes} outputs"
            )
        if not np.isfinite(threshold):
            raise ValueError(
                f"`threshold` must be finite. Received: threshold={threshold}"
            )
        return Decision(float(threshold))
    if classes > 1:
        return Decision()
    found = {"logits": 0.0, "sigmoid": 0.5, "hard_sigmoid": 0.5}.get(network.end)
    if found is None:
        raise ValueError(
            "The model has one output, and its end does not say which values mean "
            "class 1: it is neither a sigmoid nor linear. Say it with `threshold=`, "
            "0.5 for probabilities. "
            f"Received: model={network.model.name!r}"
        )
    return Decision(found)


@dataclasses.dataclass(frozen=True)
class ErrorCount:
    """How often a model is wrong.

    Attributes:
        errors: Integer, wrongly decided samples.
        num_samples: Integer, all samples.
        decision: `Decision`.
        num_compared: Integer, samples that were also predicted one by one and in
            another order, with the same outputs.
    """

    errors: int
    num_samples: int
    decision: Decision
    num_compared: int


def count_errors(model, data, *, threshold=None, output=None, batch_size=128):
    """Counts the errors of what `model.predict` returns, in float32.

    Args:
        model: A built Keras model, a classifier of one example at a time.
        data: Data with labels, as for `measure`.
        threshold: See `decision_of`.
        output: Name or index of the output, for a model with several.
        batch_size: Integer, for arrays.

    Returns:
        `ErrorCount`.

    Raises:
        ValueError: If the data has no labels, the decision rule is not known, or an
            example's prediction depends on the rest of the batch.
    """
    decision = None
    errors = count = 0
    for predicted in predictions(model, data, output=output, batch_size=batch_size):
        if decision is None:
            decision = decision_of(predicted.network, threshold)
        errors += int(np.sum(~decision.right(predicted.outputs, predicted.classes())))
        count += len(predicted.outputs)
    return ErrorCount(errors, count, decision, predicted.num_compared)


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """What a model says of the examples of a batch.

    Attributes:
        network: `Network`.
        batch: `Batch`.
        outputs: Float array, one row for each example that is not padding.
        num_compared: As of `ErrorCount`.
    """

    network: Network
    batch: Batch
    outputs: np.ndarray
    num_compared: int

    @property
    def labels(self):
        """The labels as they were given, without padding."""
        return self.network.labels_of(self.batch.y)[: self.batch.count]

    def classes(self):
        """Returns the labels as class indices, of shape `(samples,)`."""
        classes = self.outputs.shape[1]
        return class_indices(self.labels, classes, self.batch.start)


def predictions(model, data, *, output=None, batch_size=128):
    """Yields what `model.predict` returns for labelled data, in float32.

    Args:
        model: A built Keras model that treats one example at a time.
        data: Data with labels, as for `measure`.
        output: Name or index of the output, for a model with several.
        batch_size: Integer, for arrays.

    Yields:
        `Predictions`.

    Raises:
        ValueError: If the data has no labels, or an example's prediction depends on
            the rest of the batch.
    """
    network = None
    for batch in batches(data, batch_size=batch_size):
        if batch.y is None:
            raise ValueError(
                "Errors are counted with labels: pass `(x, y)`. "
                "Received: data without labels"
            )
        with backend.full_precision():  # Not of what is done with them.
            if network is None:
                check_shapes(model, batch.x)
                network = Network.of(model, specs(batch.x), output)
                if network.output is None:
                    network.check_classifier()  # Which says what is missing.
                compared = check_example_wise(network, batch)
            outputs = keras.tree.flatten(model.predict_on_batch(batch.x))
        outputs = outputs[network.output][: batch.count]
        yield Predictions(network, batch, outputs, compared)


def specs(x):
    """Returns the shapes of a batch, as `Network.of` takes them."""

    def spec(a):
        strings = isinstance(a, np.ndarray) and are_strings(a)
        dtype = "string" if strings else keras.backend.standardize_dtype(a.dtype)
        return keras.KerasTensor(a.shape, dtype)

    return keras.tree.map_structure(spec, x)
