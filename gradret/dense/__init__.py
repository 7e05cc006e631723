"""What index, search and whoever ranks by vectors share: reading VECTORS, FAISS shards, the order of results."""
