"""Keeps collections up to date while files change."""
