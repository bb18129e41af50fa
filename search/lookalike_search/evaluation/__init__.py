"""How good neighbours are: figures with intervals, calibrations, one setting after the other."""
