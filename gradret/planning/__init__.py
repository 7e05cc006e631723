"""What a config will ask of language models, and about what that costs, before it is asked."""
