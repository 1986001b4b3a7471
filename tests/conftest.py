"""What all tests share: how hypothesis runs."""

from hypothesis import settings

# No deadline: the first example of a property may wait for numba to compile. A failure prints how to repeat it.
settings.register_profile("lookahead_rl", deadline=None, print_blob=True)
settings.load_profile("lookahead_rl")
