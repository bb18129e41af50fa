"""Laws, tested with inputs that Hypothesis generates, the same on every run so that a run can be repeated.

Inputs that once broke a law are kept as an `@example`.
"""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=100)
settings.load_profile("repeatable")
