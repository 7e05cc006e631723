"""Statistics: significance between systems, agreement between judges."""
