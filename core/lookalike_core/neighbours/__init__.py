"""Nearest neighbours in numpy: brute force, votes, rank fusion, near-duplicates, precision. Pure."""
