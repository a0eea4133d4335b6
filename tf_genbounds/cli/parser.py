"""What the command line takes: one table of commands and their options."""

import argparse
import dataclasses
from collections.abc import Callable

from tf_genbounds._version import __version__
from tf_genbounds.cli import commands


def _option(flag, **options):
    return flag, options


def _files(kind, text):
    return _option("--out", metavar=kind, required=True, help=text)


def _split(default, text):
    text = f"{text} (default: %(default)s)"
    return _option("--split", metavar="SPLIT", default=default, help=text)


_MODEL = (
    _option("model", metavar="MODEL.keras", help="the saved model"),
    _option(
        "--data",
        metavar="NAME",
        required=True,
        help="digits, or a labelled image set of TensorFlow Datasets",
    ),
)
_FOLDER = _files("DIR", "folder for the files")
_HELD_OUT = _split("test", "what was held out")
_TRAINED_ON = _split("train", "what the model was trained on")
_DELTA = _option(
    "--delta",
    metavar="P",
    type=float,
    default=0.05,
    help="failure probability of the certificate (default: %(default)s)",
)
_THRESHOLD = _option(
    "--threshold",
    metavar="T",
    type=float,
    help="class 1 is what exceeds it, for a model with one output whose end does not "
    "say it",
)
_FIRST = _option(
    "--num-samples",
    metavar="N",
    type=int,
    default=64,
    help="take the first N samples (default: %(default)s)",
)
_SEED = _option("--seed", metavar="N", type=int, default=0, help="default: %(default)s")
_JSON = _option("--json", action="store_true", help="print the result as JSON")


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of `tf-genbounds`.

    Attributes:
        run: Function of the parsed arguments.
        help: One line, for the list of commands.
        description: Sentences, for its own help.
        example: Arguments that show its use.
        options: Pairs of a flag and the options of `add_argument`.
    """

    run: Callable
    help: str
    description: str
    example: str
    options: tuple


_COMMANDS = {
    "demo": Command(
        commands.demo,
        "train on digits with DARC1 and without, and compare",
        "Trains a small network on scikit-learn's digits with DARC1 and without, and "
        "writes a report and the two models.",
        "demo --out demo --epochs 5",
        (
            _option(
                "--out",
                metavar="DIR",
                default="tf-genbounds-demo",
                help="folder for the files (default: %(default)s)",
            ),
            _option(
                "--epochs",
                metavar="N",
                type=int,
                default=15,
                help="default: %(default)s",
            ),
            _SEED,
            _JSON,
        ),
    ),
    "certify": Command(
        commands.certify,
        "prove how wrong a saved model can be, by held-out data",
        "Says how wrong a saved model can be on data drawn in the same way as a split "
        "that it was neither trained nor chosen on.",
        "certify model.keras --data mnist --out certificate.json",
        (
            *_MODEL,
            _option(
                "--num-models",
                metavar="N",
                type=int,
                default=1,
                help="among how many models this one was chosen with a look at the "
                "split (default: %(default)s)",
            ),
            _option(
                "--groups",
                metavar="class",
                choices=("class",),
                help="for a statement about every class at once: class",
            ),
            _option(
                "--top-k",
                metavar="K",
                type=int,
                help="count an example as right if its class is among the first K",
            ),
            _option(
                "--out",
                metavar="FILE",
                help="write the certificate to this file, as JSON",
            ),
            _DELTA,
            _HELD_OUT,
            _THRESHOLD,
            _JSON,
        ),
    ),
    "verify": Command(
        commands.verify,
        "check a certificate by computing it again",
        "Computes again what a certificate says of a saved model and a split, and "
        "fails if anything differs.",
        "verify certificate.json model.keras --data mnist",
        (
            _option(
                "certificate", metavar="CERTIFICATE.json", help="what certify wrote"
            ),
            *_MODEL,
            _HELD_OUT,
            _JSON,
        ),
    ),
    "report": Command(
        commands.report,
        "report on a saved model",
        "Measures a saved model on a data set and writes report.html, report.md and "
        "report.json.",
        "report model.keras --data mnist --out mnist-report",
        (
            *_MODEL,
            _FOLDER,
            _option(
                "--split-train",
                metavar="SPLIT",
                default="train",
                help="what the model was trained on (default: %(default)s)",
            ),
            _option(
                "--split-validation",
                metavar="SPLIT",
                default="test",
                help="other data, or none (default: %(default)s)",
            ),
            _option(
                "--num-samples",
                metavar="N",
                type=int,
                help="measure the first N samples of each split (default: all)",
            ),
            _option(
                "--interlayer-samples",
                metavar="N",
                type=int,
                default=64,
                help="measure what is between the layers, many passes through the "
                "network, on the first N (default: %(default)s; 0: leave it out)",
            ),
            _THRESHOLD,
            _JSON,
        ),
    ),
    "measure": Command(
        commands.measure,
        "measure a saved model",
        "Measures a saved model on a data set and prints the numbers of its layers.",
        "measure model.keras --data mnist --num-samples 32",
        (
            *_MODEL,
            _option(
                "--out", metavar="FILE", help="write all numbers to this file, as JSON"
            ),
            _THRESHOLD,
            _TRAINED_ON,
            _FIRST,
            _option(
                "--quantities",
                metavar="NAME",
                nargs="+",
                help="such as layer_cushion interlayer_cushion (default: all)",
            ),
            _SEED,
            _JSON,
        ),
    ),
    "compress": Command(
        commands.compress,
        "compress a saved model, and certify it",
        "Compresses a saved model, writes the code to a file, and prints what the code "
        "proves of the compressed model.",
        "compress model.keras --data mnist --out model.code",
        (
            *_MODEL,
            _option(
                "--method",
                metavar="NAME",
                default="quantize",
                help="quantize, truncate_svd, matrix_project or filter_project "
                "(default: %(default)s)",
            ),
            _option(
                "--keep",
                metavar="SHARE",
                type=float,
                default=0.5,
                help="of the numbers of a layer, for all but quantize (default: "
                "%(default)s)",
            ),
            _option(
                "--tolerance",
                metavar="E",
                type=float,
                help="make the code as short as this rise of the train error allows "
                "(default: make the certificate as small as possible)",
            ),
            _files("FILE", "file for the code"),
            _DELTA,
            _THRESHOLD,
            _TRAINED_ON,
            _SEED,
            _JSON,
        ),
    ),
    "experiment": Command(
        commands.experiment,
        "run a study of the papers on a saved model",
        "Runs noise_attenuation (figure 1 of the compression paper), noise_stability "
        "(figure 2) or compare_bounds (figure 3) on a saved model and writes its "
        "numbers and its plot.",
        "experiment noise_attenuation model.keras --data mnist --out noise",
        (
            _option(
                "name",
                metavar="NAME",
                help="noise_attenuation, noise_stability or compare_bounds",
            ),
            *_MODEL,
            _FOLDER,
            _TRAINED_ON,
            _FIRST,
            _SEED,
            _JSON,
        ),
    ),
}


def make_parser():
    """Returns the parser; it imports neither TensorFlow nor Keras."""
    parser = _Parser(
        prog="tf-genbounds",
        description="Measures how well a Keras network can generalize.",
        epilog=_example(_COMMANDS["demo"]),
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {__version__}"
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in _COMMANDS.items():
        found = subparsers.add_parser(
            name,
            help=command.help,
            description=command.description,
            epilog=_example(command),
        )
        for flag, options in command.options:
            found.add_argument(flag, **options)
        found.set_defaults(run=command.run)
    return parser


def _example(command):
    return f"example: tf-genbounds {command.example}"


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        # Without the usage, which takes several lines.
        self.exit(2, f"{self.prog}: {message}\n")
