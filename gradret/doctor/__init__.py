"""Find what would fail a run before it costs anything: one file a check, a pure function of what the nodes tell."""
