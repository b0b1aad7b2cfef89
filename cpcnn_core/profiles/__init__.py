"""From cells to treatments: aggregate, correct, compare."""
