"""What every test and doctest shares, before TensorFlow starts its devices."""

import os

if os.environ.get("KERAS_BACKEND") == "jax":
    # Before JAX starts. Nearly all the time goes into compiling small programs: what
    # is compiled with XLA is the same, but for what LLVM would make of it.
    flags = (
        "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    )
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
    # And the same programs are compiled again for the model of the next test, and in
    # the process beside: kept under what they say, they are compiled once.
    cache = os.path.join(os.path.dirname(__file__), ".pytest_cache", "jax")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", cache)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import keras
import numpy as np
import pytest

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    if "PYTEST_XDIST_WORKER" in os.environ:  # As many processes as cores.
        tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )


# Text and numbers, and whole programs of what is tested piece by piece: no backend can
# break them, and they run once, on TensorFlow.
ONCE = (
    "tests/bounds/",
    "tests/cli/",
    "tests/compression/certificate/test_certificate.py",
    "tests/compression/codes/",
    "tests/experiments/",
    "tests/report/",
    "tests/test_architecture_code.py",
    "tests/test_examples.py",
    "tests/test_layout.py",
    "tests/test_packaging.py",
)
ON_JAX_TOO = "tests/test_examples.py::test_example[pick_to_learn.py]"


def pytest_collection_modifyitems(items):
    if keras.backend.backend() == "tensorflow":
        return
    of_tensorflow = pytest.mark.skip(reason="names a feature of TensorFlow")
    once = pytest.mark.skip(reason="runs once, on TensorFlow")
    for item in items:
        if "tensorflow" in item.keywords:
            item.add_marker(of_tensorflow)
        elif item.nodeid.startswith(ONCE) and item.nodeid != ON_JAX_TOO:
            item.add_marker(once)


@pytest.fixture(autouse=True)
def fresh(doctest_namespace):
    """Seeds, restarts the names of layers, and imports for the doctests."""
    import tf_genbounds

    doctest_namespace.update(gb=tf_genbounds, keras=keras, np=np)
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


# One for all tests: a second one on the same devices reuses the keys of the
# first for its collective operations, and fails if the shapes differ.
@pytest.fixture(scope="session")
def strategy():
    """Two replicas, on the two logical CPUs."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
