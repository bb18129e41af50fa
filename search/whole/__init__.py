"""All pictures of a collection at once: the neighbours of each, the same picture twice, a map of all."""
