"""Measures how good neighbours are: figures with intervals, comparisons, calibrations."""
