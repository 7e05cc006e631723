"""What is measured, against whom: ``python -m benchmarks.NAME``; README.md is the index, results/ the numbers."""
