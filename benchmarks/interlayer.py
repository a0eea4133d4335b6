"""What do all interlayer cushions of a VGG16 cost, next to the ideal?

The ideal is `d (d - 1) / 2d`, about `d / 2`, full forward and backward passes for
each probe and sample: one pass from each layer back to all earlier ones. A
second row compares with one full `batch_jacobian` per pair, on the pairs whose
Jacobian fits into memory. Ratios are of one run.
"""

import argparse
import statistics
import time

import keras
import numpy as np
from keras import ops

from tf_genbounds import backend
from tf_genbounds.data.batches import batches
from tf_genbounds.data.batches import tensors
from tf_genbounds.measure.jacobians import Jacobians
from tf_genbounds.network import Network


def vgg16(width=64, size=32):
    layers = keras.layers
    stack = [keras.Input((size, size, 3))]
    for block, count in enumerate((2, 2, 3, 3, 3)):
        filters = width * min(2**block, 8)
        stack += [
            layers.Conv2D(filters, 3, padding="same", activation="relu")
            for _ in range(count)
        ]
        stack.append(layers.MaxPooling2D())
    stack += [layers.Flatten()]
    stack += [layers.Dense(8 * width, activation="relu") for _ in range(2)]
    return keras.Sequential([*stack, layers.Dense(10)])


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def median(function, rounds):
    return statistics.median(seconds(function) for _ in range(rounds))


def full_pass(network, values, x):
    """A forward and a backward pass, to a perturbation of every layer."""
    taps = list(network.maps.values())

    def step(values, x):
        samples = x.shape[0]

        def run(changes):
            perturb = {
                linear.tap: lambda inputs, x, change=change: change
                for linear, change in zip(taps, changes, strict=True)
            }
            _, calls = network.run(values, x, perturb)
            return calls[taps[-1].tap].value

        zeros = [ops.zeros((samples, *linear.output_shape)) for linear in taps]
        gradients = backend.vjp(run, zeros, ops.ones((samples, 10)))
        return [ops.sum(ops.square(g)) for g in gradients]

    compiled = backend.jit(step)
    return lambda: [np.asarray(t) for t in compiled(values, x)]


def batch_jacobian(network, values, x, pair):
    """The full Jacobian of one pair, a row at a time, and its norm."""
    source, target = (network.maps[name] for name in pair)
    size = int(np.prod(target.output_shape))

    def row(values, x, index):
        def run(change):
            perturb = {source.tap: lambda inputs, x: change}
            _, calls = network.run(values, x, perturb)
            return calls[target.tap].value

        zeros = ops.zeros((x.shape[0], *source.output_shape))
        basis = ops.reshape(ops.one_hot(index, size), target.output_shape)
        vectors = ops.broadcast_to(basis, (x.shape[0], *target.output_shape))
        return ops.sum(ops.square(backend.vjp(run, zeros, vectors)))

    compiled = backend.jit(row)
    return lambda: sum(
        float(compiled(values, x, np.int32(index))) for index in range(size)
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--probes", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    model = vgg16(options.width)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(options.samples, 32, 32, 3)).astype("float32")
    network = Network.of(model)
    values = backend.values(model.variables)
    jacobians = Jacobians(
        network, network.pairs, num_probes=options.probes, exact=False, seed=0,
        xla=False,
    )  # fmt: skip
    parts = list(batches(x, batch_size=options.batch_size))

    def cushions():
        for batch in parts:
            jacobians(values, batch, lambda: None)

    compiling = seconds(cushions)
    cost = median(cushions, options.rounds)
    rows = np.resize(x, (options.batch_size, 32, 32, 3))
    one = full_pass(network, values, tensors(rows))
    one()
    unit = median(one, options.rounds) / options.batch_size
    depth = len(network.maps)
    ideal = unit * options.samples * options.probes * (depth - 1) / 2
    print(
        f"backend {keras.backend.backend()}, VGG16 of width {options.width}, "
        f"{depth} layers, {len(network.pairs)} pairs, {options.samples} samples, "
        f"{options.probes} probes"
    )
    print(f"first run, compiling          {compiling:9.2f} s")
    print(f"later runs                    {cost:9.2f} s")
    print(f"ideal number of passes        {ideal:9.2f} s   ratio {cost / ideal:.2f}")
    names = list(network.maps)
    # The ideal of a pair is a share of all; the smallest pairs are compared.
    pairs = [(names[-3], names[-2]), (names[-5], names[-4])]
    share = cost / len(network.pairs) / options.samples
    for pair in pairs:
        full = batch_jacobian(network, values, tensors(x[:1]), pair)
        full()
        full_cost = seconds(full)
        print(
            f"batch_jacobian, {' to '.join(pair):24}{full_cost:9.2f} s   "
            f"over one pair and sample of ours {full_cost / share:.0f}"
        )


if __name__ == "__main__":
    main()
