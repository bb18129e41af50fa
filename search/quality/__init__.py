"""How good neighbours are: votes, figures, intervals. Pure, but for `labelled`, which reads a collection."""
