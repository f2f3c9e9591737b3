"""Measurements of the whole and of its parts. Not installed with the package."""
