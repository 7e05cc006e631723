"""Search a finished run over HTTP: ``gradret serve``."""
