"""Estimate the prompts to language models that a config needs, and their cost, before running it."""
