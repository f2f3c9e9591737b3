"""Chaos: real workers on a real broker under a seeded schedule of faults, and whether the guarantees held."""
