"""How fast, and how exact, are the norms of all layers of VGG16?

Random weights, images of 32 by 32. Prints, for each layer, the spectral norm
and the stable rank of the operator and of the kernel, and the error of the
kernel's against a dense singular value decomposition; then the times, next to
WeightWatcher's `analyze()` on the same model if it is installed
(`pip install weightwatcher`).

What WeightWatcher calls `spectral_norm` is its square, and for a convolution
it pools the taps, each a matrix of channels: other numbers than either of ours.
"""

import argparse
import time

import keras
import numpy as np
from keras import layers

from tf_genbounds.functional import linear_operator
from tf_genbounds.functional import spectral_norm
from tf_genbounds.functional import stable_rank

BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


def vgg16(width, units):
    stack = [keras.Input((32, 32, 3))]
    for block, (count, filters) in enumerate(BLOCKS):
        for index in range(count):
            name = f"block{block + 1}_conv{index + 1}"
            stack.append(
                layers.Conv2D(
                    int(filters * width),
                    3,
                    padding="same",
                    activation="relu",
                    name=name,
                )
            )
        stack.append(layers.MaxPooling2D())
    stack += [
        layers.Flatten(),
        layers.Dense(units, activation="relu", name="fc1"),
        layers.Dense(units, activation="relu", name="fc2"),
        layers.Dense(10, name="predictions"),
    ]
    return keras.Sequential(stack)


def measure(model):
    """Returns `{layer: (norm, stable rank, kernel norm, kernel's)}`."""
    result = {}
    for layer in model.layers:
        if layer.weights:
            operator = linear_operator(layer)
            numbers = []
            for matrix in ("operator", "kernel"):
                estimate = spectral_norm(operator, matrix)
                rank = stable_rank(operator, matrix, estimate=estimate)
                numbers += [float(estimate.value), float(rank)]
            result[layer.name] = numbers
    return result


def timed(function, *args):
    start = time.perf_counter()
    result = function(*args)
    return time.perf_counter() - start, result


def dense_norm(layer):
    kernel = np.asarray(layer.kernel, "float64")
    kernel = kernel.reshape(-1, kernel.shape[-1])
    rows, columns = kernel.shape
    gram = kernel @ kernel.T if rows < columns else kernel.T @ kernel
    return np.sqrt(np.linalg.eigvalsh(gram)[-1])


def analyze(model):
    """Runs WeightWatcher, or returns None where it is not installed."""
    try:
        import weightwatcher
    except ImportError:
        return None
    watcher = weightwatcher.WeightWatcher(model=model)
    return timed(watcher.analyze)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=float, default=1.0, help="of each layer")
    parser.add_argument("--units", type=int, default=512, help="of fc1 and fc2")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-weightwatcher", action="store_true")
    args = parser.parse_args()

    keras.utils.set_random_seed(args.seed)
    model = vgg16(args.width, args.units)
    first, _ = timed(measure, model)
    later, result = min(
        (timed(measure, model) for _ in range(args.repeats)),
        key=lambda pair: pair[0],
    )
    dense, norms = timed(
        lambda: {name: dense_norm(model.get_layer(name)) for name in result}
    )

    print(f"{'':16}{'operator':>22}{'kernel':>22}")
    print(f"{'layer':16}" + 2 * f"{'norm':>11}{'rank':>11}" + f"{'error':>11}")
    errors = {name: 1 - result[name][2] / norms[name] for name in result}
    for name, numbers in result.items():
        columns = "".join(f"{number:11.4g}" for number in numbers)
        print(f"{name:16}{columns}{errors[name]:11.1e}")
    print(f"largest error of a kernel's norm   {max(errors.values()):.2%}")
    print(f"first run, compiling               {first:.2f} s")
    print(f"later runs                         {later:.2f} s")
    print(f"eigvalsh of the Gram, kernels only {dense:.2f} s")
    watched = None if args.no_weightwatcher else analyze(model)
    if watched is not None:
        print(f"weightwatcher.analyze()            {watched:.2f} s")
        print(
            f"  over our first and later runs    {watched / first:.1f}, "
            f"{watched / later:.1f}"
        )


if __name__ == "__main__":
    main()
