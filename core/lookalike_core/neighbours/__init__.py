"""Nearest neighbours in numpy: brute force, votes of neighbours, and rank fusion. Pure."""
