"""Documents that are copies of others."""
