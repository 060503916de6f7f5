"""What all tests share."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")

from edgedqn.pipeline.native import load_tensorflow, quiet

# As in every run: one thread, decided before anything uses TensorFlow, which cannot change it afterwards.
with quiet():
    load_tensorflow(threads=1)
