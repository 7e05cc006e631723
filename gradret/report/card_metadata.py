"""The metadata of the model card, which the Hugging Face Hub reads: YAML before the text."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.progress import printable

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.stats.significance import Results
    from gradret.store.artifacts import Artifact

__all__ = ["LANGUAGES", "dataset_name", "hub_dataset", "hub_id", "metadata"]

LANGUAGES = {
    "arabic": "ar", "armenian": "hy", "basque": "eu", "catalan": "ca", "czech": "cs", "danish": "da", "dutch": "nl",
    "dutch_porter": "nl", "english": "en", "esperanto": "eo", "estonian": "et", "finnish": "fi", "french": "fr",
    "german": "de", "greek": "el", "hindi": "hi", "hungarian": "hu", "indonesian": "id", "irish": "ga",
    "italian": "it", "lithuanian": "lt", "nepali": "ne", "norwegian": "no", "persian": "fa", "polish": "pl",
    "porter": "en", "portuguese": "pt", "romanian": "ro", "russian": "ru", "serbian": "sr", "sesotho": "st",
    "spanish": "es", "swedish": "sv", "tamil": "ta", "turkish": "tr", "yiddish": "yi",
}  # fmt: skip
"""Names of Snowball's stemmers as ISO 639-1 codes, which the Hub expects."""


def metadata(config: Config, artifacts: Mapping[str, Artifact], results: Results) -> str:
    """The YAML between the card's two lines ``---``, written by huggingface_hub.

    ``model-index`` has the measures of the tuned model; shares of judged documents, which are no quality, are left out.

    Args:
        config: the run's config.
        artifacts: the run's artifacts by name.
        results: results of the evaluated systems; may be empty.
    """
    from huggingface_hub import ModelCardData

    on_hub = hub_dataset(config.dataset)
    data = ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "sentence-similarity", "feature-extraction", "dense", "gradret"],
        language=LANGUAGES.get(str(config.dataset.language)),
        license=config.license or None,
        base_model=hub_id(config.train.encoder.model) or None,
        datasets=[on_hub] if on_hub else None,
        model_name=printable(config.name),
        eval_results=_results(config, artifacts, results) or None,
    )
    if not data.eval_results:
        data.model_name = None
    return data.to_yaml().strip()


def _results(config: Config, artifacts: Mapping[str, Artifact], results: Results) -> list[Any]:
    from huggingface_hub import EvalResult

    generated = "queries" in artifacts and artifacts["queries"].stage == "held_out"
    return [
        EvalResult(
            task_type="information-retrieval",
            task_name="Information Retrieval",
            dataset_type=hub_dataset(config.dataset) or name_of(config.dataset),
            dataset_name=dataset_name(config.dataset) + (" (generated queries)" if generated else ""),
            dataset_split=None if generated else config.dataset.split,
            metric_type=re.sub(r"\W+", "_", measure.lower().replace("@", "_at_")).strip("_"),
            metric_name=measure,
            metric_value=round(results.means["tuned"][measure].value, 6),
        )
        for measure in (results.tested if "tuned" in results.means else [])
    ]


def dataset_name(dataset: Any) -> str:
    """The user's name of a dataset: an id, or the last part of a path; without either, the component's name."""
    places = [getattr(dataset, f.name) for f in fields(dataset) if "location" in f.metadata]
    named = next((place for place in places if isinstance(place, str) and place.strip()), name_of(dataset))
    # Not Path.exists, which raises if the text is too long for a path.
    is_path = os.path.isabs(named) or os.path.exists(named)  # noqa: PTH110, PTH117
    return printable(Path(named).resolve().name if is_path else named)


def hub_dataset(dataset: Any) -> str:
    """The Hub id of a dataset; empty if it is elsewhere."""
    return hub_id(dataset.path) if name_of(dataset) == "hf" else ""


def hub_id(reference: str) -> str:
    """``reference`` if it is a Hub id; empty if it is a folder, a file or a package."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(reference)
    except HFValidationError:
        return ""
    return "" if Path(reference).exists() else reference
