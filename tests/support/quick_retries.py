"""Shortens the pauses between retries of server requests; their number stays."""

from lookalike_core.stores.retries import RetryPolicy
from lookalike_core.stores.server_tuning import ServerTuning

QUICK_RETRIES = ServerTuning(retries=RetryPolicy(first_wait_s=0.01))
SHORT_RETRIES = ServerTuning(retries=RetryPolicy(first_wait_s=0.01, longest_wait_s=0.01))
"""Retries without growing pauses, for servers that stay away."""
