"""Search: BM25, FAISS shards, the order of results, run files."""
