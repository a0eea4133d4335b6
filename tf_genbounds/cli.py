"""The command line: `tf-genbounds demo` and `tf-genbounds report`.

TensorFlow is imported inside the commands, so that `--help` is quick.
"""

import argparse
import contextlib
import os
import re
import sys

from tf_genbounds._version import __version__

_DEMO_EXAMPLE = "example: tf-genbounds demo --out demo --epochs 5"
_REPORT_EXAMPLE = (
    "example: tf-genbounds report model.keras --data mnist --out mnist-report"
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
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True
    )
    demo = commands.add_parser(
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
    demo.add_argument(
        "--seed", metavar="N", type=int, default=0, help="default: %(default)s"
    )
    demo.set_defaults(run=_demo)

    report = commands.add_parser(
        "report",
        help="report on a saved model",
        description="Measures a saved model on a data set and writes "
        "report.html, report.md and report.json.",
        epilog=_REPORT_EXAMPLE,
    )
    report.add_argument("model", metavar="MODEL.keras", help="the saved model")
    report.add_argument(
        "--data",
        metavar="NAME",
        required=True,
        help="digits, or a labelled image set of TensorFlow Datasets",
    )
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
    report.set_defaults(run=_report)
    for command in (demo, report):
        command.add_argument(
            "--json", action="store_true", help="print the report as JSON"
        )
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        # Without the usage, which takes several lines.
        self.exit(2, f"{self.prog}: {message}\n")


def _demo(arguments):
    from rich.console import Console

    from tf_genbounds import demo
    from tf_genbounds.report.text import rich_table
    from tf_genbounds.report.writing import output_folder

    with output_folder(arguments.out) as folder:
        result = demo.run(
            epochs=arguments.epochs,
            seed=arguments.seed,
            console=Console(stderr=True),
        )
        for name, model in result.models.items():
            model.save(folder / name)
        _write(result.report, folder)
        names = sorted(file.name for file in folder.iterdir())
    if arguments.json:
        print(result.report.to_json())
        return
    Console().print(rich_table(demo.summary(result)))
    print(demo.conclusion(result))
    print(f"\nWritten to {arguments.out}: {', '.join(names)}")


def _report(arguments):
    from tf_genbounds.data import load
    from tf_genbounds.report.report import report
    from tf_genbounds.report.writing import output_folder

    model = _load_model(arguments.model)
    train = load(arguments.data, arguments.split_train)
    validation = None
    if arguments.split_validation != "none":
        validation = load(arguments.data, arguments.split_validation)
    with output_folder(arguments.out) as folder:
        result = report(
            model, train, validation, num_samples=arguments.num_samples
        )
        _write(result, folder)
    print(result.to_json() if arguments.json else result.to_text())


def _load_model(path):
    import keras

    # For their side effect: a model may contain what they register.
    import tf_genbounds.layers
    import tf_genbounds.losses
    import tf_genbounds.regularizers  # noqa: F401

    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras lets through whatever the file causes.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        # Far down, when a class is neither Keras' own nor ours.
        unknown = re.search("Could not locate [a-z]+ '[^']*'[.]", str(error))
        reason = unknown.group() if unknown else lines[0]
        raise ValueError(
            f"This file cannot be loaded as a Keras model: {reason} "
            f"Received: model={path!r}"
        ) from None


def _write(report, folder):
    report.to_html(folder / "report.html")
    report.to_json(folder / "report.json")
    (folder / "report.md").write_text(report.to_markdown(), encoding="utf-8")


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
