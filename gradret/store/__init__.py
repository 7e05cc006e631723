"""Artifacts on disk: what they hold, what names them."""
