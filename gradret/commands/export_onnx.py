"""Write a sentence-transformers folder as ONNX: one graph from token ids to the pooled, normalised vector."""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.commands.export_source import SETTINGS
from gradret.errors import ConfigError, StageError
from gradret.store.atomic import write_json, write_text

if TYPE_CHECKING:
    from gradret.commands.onnx_encode import Encoder

__all__ = ["require_onnx", "write_onnx"]

_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_USE = """## Use

The graph `model.onnx` takes `input_ids` and `attention_mask`, both `(texts, tokens)` int64, and returns
`sentence_embedding`, pooled and normalised as the model was trained. `encode.py` runs it with onnxruntime, tokenizers
and numpy alone:

```python
from pathlib import Path
from encode import Encoder

encoder = Encoder(Path("."))
documents = encoder.encode("document", ["title and text of one document", "title and text of another"])
queries = encoder.encode("query", ["the query"])
print(queries @ documents.T)
```
"""


def require_onnx() -> None:
    """Check that the packages of the extra ``onnx`` are installed.

    Raises:
        ConfigError: one is not.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"export: {', '.join(missing)} not installed; pip install 'gradret[onnx]'")


def write_onnx(model: Path, folder: Path, *, trusted: bool) -> Encoder:
    """Write ``model.onnx``, ``tokenizer.json``, ``encode.json``, ``encode.py`` and the card, and open them.

    Args:
        model: a folder of sentence-transformers, static or a transformer, with a card.
        folder: an existing folder.
        trusted: whether the model's own Python code may run.

    Raises:
        StageError: the model cannot be exported.
    """
    from sentence_transformers import SentenceTransformer

    from gradret.commands import onnx_encode

    opened = SentenceTransformer(str(model), device="cpu", trust_remote_code=trusted).eval()
    static = type(opened[0]).__name__ == "StaticEmbedding"
    _write_tokenizer(model, folder, opened, static=static)
    settings = json.loads((model / SETTINGS).read_text(encoding="utf-8"))
    prompts = {kind: settings.get("prompts", {}).get(kind) or "" for kind in ("query", "document")}
    lengths = {kind: None if static else getattr(opened[0], f"{kind}_length", None) for kind in prompts}
    longest = None if static else opened.max_seq_length
    write_json(
        folder / "encode.json",
        {"prompts": prompts, "lengths": {kind: length or longest for kind, length in lengths.items()}},
    )
    shutil.copyfile(str(onnx_encode.__file__), folder / "encode.py")
    _write_card(model, folder)
    _write_graph(opened, folder / "model.onnx")
    return onnx_encode.Encoder(folder)


def _write_tokenizer(model: Path, folder: Path, opened: Any, *, static: bool) -> None:
    """Write ``tokenizer.json``, which pads on the right and does not truncate."""
    from tokenizers import Tokenizer

    file = next((path for path in (model / "tokenizer.json", *model.rglob("tokenizer.json")) if path.is_file()), None)
    if file is None:
        raise StageError("export: the model has no tokenizer.json, only a tokenizer in Python, which ONNX cannot run")
    content = json.loads(file.read_text(encoding="utf-8"))
    if static:
        content["post_processor"] = None  # a static model adds no special tokens
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.no_truncation()
    padding = {} if static else {"pad_id": opened.tokenizer.pad_token_id, "pad_token": opened.tokenizer.pad_token}
    tokenizer.enable_padding(**padding)
    tokenizer.save(str(folder / "tokenizer.json"))


def _write_card(model: Path, folder: Path) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard((model / "README.md").read_text(encoding="utf-8"))
    card.data["library_name"] = "onnx"
    card.text = re.sub(r"^## Use\n.*?(?=^## |\Z)", lambda _: f"{_USE}\n", card.text, flags=re.MULTILINE | re.DOTALL)
    write_text(folder / "README.md", [str(card)])


def _write_graph(opened: Any, path: Path) -> None:
    import torch

    ids = torch.ones((2, 3), dtype=torch.int64)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    axes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens")}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                _graph(opened),
                (ids, mask),
                input_names=["input_ids", "attention_mask"],
                output_names=["sentence_embedding"],
                dynamic_shapes=(axes, axes),
                dynamo=True,
                verbose=False,
            )
            program.save(path)  # type: ignore[union-attr]
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise StageError(f"export: torch.onnx cannot export the model: {reason}") from error


def _graph(opened: Any) -> Any:
    """The model as a module from token ids and mask, ``(texts, tokens)``, to vectors, ``(texts, dimension)``."""
    import torch

    class _Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.rest = opened[0], torch.nn.ModuleList(list(opened)[1:])
            self.static = type(opened[0]).__name__ == "StaticEmbedding"

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            features = {"input_ids": input_ids, "attention_mask": attention_mask}
            if self.static:
                weights = attention_mask.unsqueeze(-1).to(self.first.embedding.weight.dtype)
                total = (self.first.embedding.weight[input_ids] * weights).sum(1)
                features["sentence_embedding"] = total / weights.sum(1).clamp(min=1)
            else:
                features = self.first(features)
            for module in self.rest:
                features = module(features)
            return features["sentence_embedding"]

    return _Graph().eval()
