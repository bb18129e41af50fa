"""Storage of vectors: one protocol, two stores.

`protocol` is the interface, which `embedded` and `server` implement; `open_store` chooses one; `points` are
stored and returned. A server is located by `address`, connected to by `connection`, called through `retries`,
and its errors are translated by `faults`.
"""
