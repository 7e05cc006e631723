"""Locate and load models on disk, and run them over many texts."""
