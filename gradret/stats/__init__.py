"""Significance of differences between systems, and agreement between judges."""
