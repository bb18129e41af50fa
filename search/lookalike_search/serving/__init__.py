"""Serves searches over HTTP: a JSON API over open collections and loaded models."""
