"""Will this network generalize, and what can be proved about it?

`import tf_genbounds as gb`, then `gb.losses`, `gb.regularizers` and
`gb.layers` train, `gb.measure`, `gb.metrics` and `gb.callbacks` measure, and
`gb.report` reports.
"""

import os
import sys

from tf_genbounds._version import __version__  # noqa: F401

# The console script answers `--help` without TensorFlow, and silences its
# start-up messages before it imports what a command needs. Everyone else gets
# all the names at once: Keras can load only what has been imported.
if not os.path.basename((sys.argv or [""])[0]).startswith("tf-genbounds"):
    from tf_genbounds.api import *  # noqa: F403
