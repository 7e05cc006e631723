"""How a stage's work is done on Ray: shards, and questions to a language model."""
