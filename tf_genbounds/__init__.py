"""Will this network generalize, and what can be proved about it?

`import tf_genbounds as gb`, then `gb.losses`, `gb.regularizers` and
`gb.layers` train, `gb.measure`, `gb.metrics` and `gb.callbacks` measure,
`gb.certify`, `gb.pick_to_learn`, `gb.pac_bayes`, `gb.compress` and `gb.two_phase`
prove, and
`gb.report` reports.
"""

import pathlib
import sys
import sysconfig

from tf_genbounds._version import __version__  # noqa: F401


def _is_console_script():
    """Whether the program is the installed command `tf-genbounds`.

    It answers `--help` without TensorFlow, and silences its start-up messages
    before it imports what a command needs.
    """
    program = pathlib.Path((sys.argv or [""])[0]).resolve()
    folders = {sysconfig.get_path("scripts", s) for s in sysconfig.get_scheme_names()}
    return program.stem == "tf-genbounds" and str(program.parent) in {
        str(pathlib.Path(folder).resolve()) for folder in folders
    }


# Everyone else gets all the names at once: Keras can load only what has been
# imported.
if not _is_console_script():
    from tf_genbounds import bounds
    from tf_genbounds import callbacks
    from tf_genbounds import compression
    from tf_genbounds import data
    from tf_genbounds import experiments
    from tf_genbounds import functional
    from tf_genbounds import layers
    from tf_genbounds import losses
    from tf_genbounds import metrics
    from tf_genbounds import pac_bayes
    from tf_genbounds import pick_to_learn
    from tf_genbounds import regularizers
    from tf_genbounds import two_phase
    from tf_genbounds.certificates import Certificate
    from tf_genbounds.certificates import certify
    from tf_genbounds.compression import compress
    from tf_genbounds.measure import measure
    from tf_genbounds.measure.measurements import LayerMeasurements
    from tf_genbounds.measure.measurements import Measurements
    from tf_genbounds.metrics.monitored_model import MonitoredModel
    from tf_genbounds.report import Report
    from tf_genbounds.report import report

    __all__ = [
        "Certificate",
        "LayerMeasurements",
        "Measurements",
        "MonitoredModel",
        "Report",
        "bounds",
        "callbacks",
        "certify",
        "compress",
        "compression",
        "data",
        "experiments",
        "functional",
        "layers",
        "losses",
        "measure",
        "metrics",
        "pac_bayes",
        "pick_to_learn",
        "regularizers",
        "report",
        "two_phase",
    ]
