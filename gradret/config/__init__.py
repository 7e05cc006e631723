"""The config of a run and of an evaluation, and how it is read."""
