"""Answers queries: images are found and embedded, collections are searched, neighbours vote."""
