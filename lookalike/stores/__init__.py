"""Where vectors live: one behaviour, two stores.

`protocol` says what a store does, `embedded` and `server` do it, `choice` picks one; `points` is what
goes in and comes out, `address` where a server is.
"""
