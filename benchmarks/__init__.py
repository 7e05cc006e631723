"""Benchmarks: run one with ``python -m benchmarks.NAME``; README.md is the index, results/ has the numbers."""
