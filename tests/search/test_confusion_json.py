"""The confusion matrix in `search evaluate --json`."""

import numpy as np
from lookalike_search.commands.evaluation_format import confusion_json


def test_the_confusion_of_many_classes_has_no_whole_table() -> None:
    """It grows with the square of the number of classes and is mostly 0."""
    table = np.diag(np.arange(1, 102))
    table[3, 7] = 5
    found = confusion_json([str(number) for number in range(101)], table, table)
    assert found["neighbours"] is None
    assert len(found["cells"]) == 102
    assert [3, 7, 5] in found["cells"]
    assert confusion_json(["a", "b"], np.array([[1, 0], [2, 3]]), np.array([[1, 0], [0, 3]])) == {
        "classes": ["a", "b"],
        "cells": [[0, 0, 1], [1, 0, 2], [1, 1, 3]],
        "countable_cells": [[0, 0, 1], [1, 1, 3]],
        "neighbours": [[1, 0], [2, 3]],
    }
