"""optsweep: which optimizer and which learning rate to use, and how sure that is."""

import os

__version__ = "0.1.0"

# MLflow looks at these when it is imported, by whichever module comes first.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # no calls home, least of all offline
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # a line for each run
