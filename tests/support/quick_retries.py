"""Shortens the pauses between retries of server requests; their number stays."""

from lookalike_core.stores.retries import RetryPolicy
from lookalike_core.stores.server_tuning import ServerTuning

QUICK_RETRIES = ServerTuning(retries=RetryPolicy(first_wait_s=0.01))
SHORT_RETRIES = ServerTuning(retries=RetryPolicy(first_wait_s=0.01, longest_wait_s=0.01))
"""Retries without growing pauses, for servers that stay away."""

IMPATIENT_INGEST = (
    "from lookalike_core.stores import connection, retries, server_tuning; "
    "policy = retries.RetryPolicy(first_wait_s=0.02); "
    "connection.connect.__kwdefaults__['tuning'] = server_tuning.ServerTuning(retries=policy); "
    "from lookalike_ingest.__main__ import main; main()"
)
"""The program of `python -c` for `ingest` with the usual number of tries and nearly no pauses."""
