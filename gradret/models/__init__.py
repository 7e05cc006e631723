"""Models on disk: found, opened, run over many texts."""
