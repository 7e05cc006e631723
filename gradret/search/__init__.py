"""Search: BM25, FAISS shards, the one order of results, run files."""
