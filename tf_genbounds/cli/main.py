"""The command line: `tf-genbounds demo`, `report`, `measure`, `compress`, ...

The commands themselves are in `commands`.
"""

import argparse
import contextlib
import os
import sys

from tf_genbounds._version import __version__
from tf_genbounds.cli import commands

_COMPRESS_EXAMPLE = (
    "example: tf-genbounds compress model.keras --data mnist --out model.code"
)
_CERTIFY_EXAMPLE = (
    "example: tf-genbounds certify model.keras --data mnist --out certificate.json"
)
_VERIFY_EXAMPLE = (
    "example: tf-genbounds verify certificate.json model.keras --data mnist"
)
_DEMO_EXAMPLE = "example: tf-genbounds demo --out demo --epochs 5"
_REPORT_EXAMPLE = (
    "example: tf-genbounds report model.keras --data mnist --out mnist-report"
)
_MEASURE_EXAMPLE = (
    "example: tf-genbounds measure model.keras --data mnist --num-samples 32"
)
_EXPERIMENT_EXAMPLE = (
    "example: tf-genbounds experiment noise_attenuation model.keras "
    "--data mnist --out noise"
)


def main(argv=None) -> int:
    """Runs a command; bad input gives one line and the status 2.

    Args:
        argv: List of arguments. Defaults to those of the process.

    Returns:
        The exit status.
    """
    arguments = _parser().parse_args(argv)
    try:
        with _quiet_import():
            # On JAX too, where Keras imports it to set the seed.
            import tensorflow  # noqa: F401

            import tf_genbounds.report.report  # noqa: F401
        arguments.run(arguments)
    except (ImportError, OSError, TypeError, ValueError) as error:
        message = " ".join(str(error).split())
        print(f"tf-genbounds {arguments.command}: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser():
    parser = _Parser(
        prog="tf-genbounds",
        description="Measures how well a Keras network can generalize.",
        epilog=_DEMO_EXAMPLE,
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {__version__}"
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    demo = subparsers.add_parser(
        "demo",
        help="train on digits with DARC1 and without, and compare",
        description="Trains a small network on scikit-learn's digits with "
        "DARC1 and without, and writes a report and the two models.",
        epilog=_DEMO_EXAMPLE,
    )
    demo.add_argument(
        "--out",
        metavar="DIR",
        default="tf-genbounds-demo",
        help="folder for the files (default: %(default)s)",
    )
    demo.add_argument(
        "--epochs", metavar="N", type=int, default=15, help="default: %(default)s"
    )
    demo.set_defaults(run=commands.demo)

    certify = subparsers.add_parser(
        "certify",
        help="prove how wrong a saved model can be, by held-out data",
        description="Says how wrong a saved model can be on data drawn in the same "
        "way as a split that it was neither trained nor chosen on.",
        epilog=_CERTIFY_EXAMPLE,
    )
    _add_model(certify)
    certify.add_argument(
        "--num-models",
        metavar="N",
        type=int,
        default=1,
        help="among how many models this one was chosen with a look at the split "
        "(default: %(default)s)",
    )
    certify.add_argument(
        "--groups",
        metavar="class",
        choices=("class",),
        help="for a statement about every class at once: class",
    )
    certify.add_argument(
        "--top-k",
        metavar="K",
        type=int,
        help="count an example as right if its class is among the first K",
    )
    certify.add_argument(
        "--out", metavar="FILE", help="write the certificate to this file, as JSON"
    )
    certify.set_defaults(run=commands.certify)

    verify = subparsers.add_parser(
        "verify",
        help="check a certificate by computing it again",
        description="Computes again what a certificate says of a saved model and a "
        "split, and fails if anything differs.",
        epilog=_VERIFY_EXAMPLE,
    )
    verify.add_argument(
        "certificate", metavar="CERTIFICATE.json", help="what certify wrote"
    )
    _add_model(verify)
    verify.set_defaults(run=commands.verify)

    report = subparsers.add_parser(
        "report",
        help="report on a saved model",
        description="Measures a saved model on a data set and writes "
        "report.html, report.md and report.json.",
        epilog=_REPORT_EXAMPLE,
    )
    _add_model(report)
    report.add_argument(
        "--out", metavar="DIR", required=True, help="folder for the files"
    )
    report.add_argument(
        "--split-train",
        metavar="SPLIT",
        default="train",
        help="what the model was trained on (default: %(default)s)",
    )
    report.add_argument(
        "--split-validation",
        metavar="SPLIT",
        default="test",
        help="other data, or none (default: %(default)s)",
    )
    report.add_argument(
        "--num-samples",
        metavar="N",
        type=int,
        help="measure the first N samples of each split (default: all)",
    )
    report.add_argument(
        "--interlayer-samples",
        metavar="N",
        type=int,
        default=64,
        help="measure what is between the layers, many passes through the "
        "network, on the first N (default: %(default)s; 0: leave it out)",
    )
    report.set_defaults(run=commands.report)

    measure = subparsers.add_parser(
        "measure",
        help="measure a saved model",
        description="Measures a saved model on a data set and prints the "
        "numbers of its layers.",
        epilog=_MEASURE_EXAMPLE,
    )
    _add_model(measure)
    measure.add_argument(
        "--out", metavar="FILE", help="write all numbers to this file, as JSON"
    )
    measure.set_defaults(run=commands.measure)

    compress = subparsers.add_parser(
        "compress",
        help="compress a saved model, and certify it",
        description="Compresses a saved model, writes the code to a file, and "
        "prints what the code proves of the compressed model.",
        epilog=_COMPRESS_EXAMPLE,
    )
    _add_model(compress)
    compress.add_argument(
        "--method",
        metavar="NAME",
        default="quantize",
        help="quantize, truncate_svd, matrix_project or filter_project (default: "
        "%(default)s)",
    )
    compress.add_argument(
        "--keep",
        metavar="SHARE",
        type=float,
        default=0.5,
        help="of the numbers of a layer, for all but quantize (default: %(default)s)",
    )
    compress.add_argument(
        "--tolerance",
        metavar="E",
        type=float,
        help="make the code as short as this rise of the train error allows "
        "(default: make the certificate as small as possible)",
    )
    compress.add_argument(
        "--out", metavar="FILE", required=True, help="file for the code"
    )
    compress.set_defaults(run=commands.compress)

    experiment = subparsers.add_parser(
        "experiment",
        help="run a study of the papers on a saved model",
        description="Runs noise_attenuation (figure 1 of the compression "
        "paper), noise_stability (figure 2) or compare_bounds (figure 3) on a "
        "saved model and writes its numbers and its plot.",
        epilog=_EXPERIMENT_EXAMPLE,
    )
    experiment.add_argument(
        "name",
        metavar="NAME",
        help="noise_attenuation, noise_stability or compare_bounds",
    )
    _add_model(experiment)
    experiment.add_argument(
        "--out", metavar="DIR", required=True, help="folder for the files"
    )
    experiment.set_defaults(run=commands.experiment)

    for command in (certify, compress):
        command.add_argument(
            "--delta",
            metavar="P",
            type=float,
            default=0.05,
            help="failure probability of the certificate (default: %(default)s)",
        )
    for command in (certify, verify):
        command.add_argument(
            "--split",
            metavar="SPLIT",
            default="test",
            help="what was held out (default: %(default)s)",
        )
    for command in (certify, report, measure, compress):
        command.add_argument(
            "--threshold",
            metavar="T",
            type=float,
            help="class 1 is what exceeds it, for a model with one output whose end "
            "does not say it",
        )
    for command in (measure, compress, experiment):
        command.add_argument(
            "--split",
            metavar="SPLIT",
            default="train",
            help="what the model was trained on (default: %(default)s)",
        )
    for command in (measure, experiment):
        command.add_argument(
            "--num-samples",
            metavar="N",
            type=int,
            default=64,
            help="take the first N samples (default: %(default)s)",
        )
    measure.add_argument(
        "--quantities",
        metavar="NAME",
        nargs="+",
        help="such as layer_cushion interlayer_cushion (default: all)",
    )
    for command in (demo, measure, compress, experiment):
        command.add_argument(
            "--seed", metavar="N", type=int, default=0, help="default: %(default)s"
        )
    for command in (demo, certify, verify, report, measure, compress, experiment):
        command.add_argument(
            "--json", action="store_true", help="print the result as JSON"
        )
    return parser


def _add_model(command):
    command.add_argument("model", metavar="MODEL.keras", help="the saved model")
    command.add_argument(
        "--data",
        metavar="NAME",
        required=True,
        help="digits, or a labelled image set of TensorFlow Datasets",
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        # Without the usage, which takes several lines.
        self.exit(2, f"{self.prog}: {message}\n")


@contextlib.contextmanager
def _quiet_import():
    """Keeps what TensorFlow says when it is imported off the screen.

    Some of it comes before TensorFlow reads `TF_CPP_MIN_LOG_LEVEL`. Whoever
    sets the variable sees everything.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ or "tensorflow" in sys.modules:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    screen = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(screen, 2)
        os.close(nothing)
        os.close(screen)
