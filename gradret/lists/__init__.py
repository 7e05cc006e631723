"""Build training lists: candidates, filters, grades and their audit."""
