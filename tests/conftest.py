"""What all tests share: how many threads a process takes, and how hypothesis runs."""

import os

from hypothesis import settings

# Small networks gain nothing from a second thread and, beside another busy process, lose a factor of ten by it.
# Set before torch is loaded, and inherited by the interpreters that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadline: the first example of a property may wait for numba to compile. A failure prints how to repeat it.
settings.register_profile("lookahead_rl", deadline=None, print_blob=True)
settings.load_profile("lookahead_rl")
