"""Laws, tried on inputs that Hypothesis thinks up: the same ones on every run, so that a run can be repeated.

What a law found is kept beside it as an `@example`.
"""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=100)
settings.load_profile("repeatable")
