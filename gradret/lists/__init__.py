"""Training lists: candidates, filters, grades, and their audit."""
