"""What a run leaves to read: tables with significance, plots, one HTML page."""
