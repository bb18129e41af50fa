"""Analyses of whole collections (all neighbours, duplicates, a map), and explanations of a similarity."""
