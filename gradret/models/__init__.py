"""Locate and load models, and run them on many texts."""
