"""Settings for every test."""

from hypothesis import settings

# Machines under load are slow now and then, which is no fault of the code; the same examples are tried every time.
settings.register_profile("retort", deadline=None, derandomize=True)
settings.load_profile("retort")
