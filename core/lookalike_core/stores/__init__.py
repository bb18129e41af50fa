"""Where vectors live: one behaviour, two stores.

`protocol` says what a store does, `embedded` and `server` do it, `open_store` picks one; `points` is what
goes in and comes out. A server lies at an `address`, is reached by `connection`, asked through `retries`,
and what goes wrong there is judged by `faults`.
"""
