"""All images of a collection at once (neighbours, near-duplicates, a map), and two images explained."""
