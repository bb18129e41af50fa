"""Verifies that a collection is what its files and its model make; writes nothing."""
