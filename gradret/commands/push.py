"""``gradret push``: export a run's model, verify it, and upload it to the Hugging Face Hub."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gradret.commands.export import export
from gradret.errors import ConfigError, GradretError, StageError
from gradret.progress import say

__all__ = ["push"]

_LOGIN = "set HF_TOKEN to a token that may write, or run: hf auth login"

_CARD = "edit model/README.md of the run"


def push(run: str | Path, repo_id: str, *, private: bool = False) -> str:
    """Upload the verified model of ``run`` as one commit, and return its URL.

    The token is huggingface_hub's: ``HF_TOKEN``, or that of its own login; gradret does not store it. ``HF_ENDPOINT``
    names another Hub. Files that the repository has under the same names are replaced by the commit.

    Args:
        run: the folder of a finished run, ``STORAGE/runs/NAME``, or its URL.
        repo_id: ``NAMESPACE/NAME``; the repository is made if there is none.
        private: make a private repository, and upload to no other.

    Raises:
        ConfigError: ``repo_id`` is no id of the Hub, the token is missing or refused, or the repository is public and
            ``private`` is set. Or what ``export`` raises.
        StageError: the Hub cannot be reached, or refuses the model card or the upload; nothing of it is published.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ConfigError(f"push: {repo_id!r} is no id of the Hub, NAMESPACE/NAME: {error}") from error
    api = HfApi()
    with _refusals(api, repo_id):
        api.whoami()  # before the export, which takes longer
    with tempfile.TemporaryDirectory(prefix="gradret-push-") as folder:
        model = export(run, Path(folder) / "model")
        with _refusals(api, repo_id):
            repo_id = api.create_repo(repo_id, private=private or None, exist_ok=True).repo_id
            if private and not api.model_info(repo_id).private:
                raise ConfigError(f"push: {repo_id} exists and is public; name another repository, or drop --private")
            say(f"push       to {api.endpoint}/{repo_id}")
            message = f"Upload the model of the run {Path(run).resolve().name}"
            return str(api.upload_folder(repo_id=repo_id, folder_path=model, commit_message=message).commit_url)


@contextmanager
def _refusals(api: Any, repo_id: str) -> Iterator[None]:
    """Say what the Hub, or the way to it, refused."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    try:
        yield
    except GradretError:
        raise
    except LocalTokenNotFoundError as error:
        raise ConfigError(f"push: there is no token for {api.endpoint}; {_LOGIN}") from error
    except HfHubHTTPError as error:
        status, reason = error.response.status_code, error.server_message or str(error).partition("\n")[0]
        if status == 401:
            raise ConfigError(f"push: {api.endpoint} refused the token (401: {reason}); {_LOGIN}") from error
        if status == 403:
            raise ConfigError(f"push: the token may not write to {repo_id} (403: {reason}); {_LOGIN}") from error
        raise StageError(f"push: {api.endpoint} refused the upload to {repo_id} ({status}: {reason})") from error
    except ValueError as error:  # what the Hub finds wrong with the card
        raise StageError(f"push: {' '.join(str(error).split())}; correct the config's license, or {_CARD}") from error
    except Exception as error:  # the HTTP library's own, which differs between versions of huggingface_hub
        raise StageError(
            f"push: the connection to {api.endpoint} failed ({type(error).__name__}: {error}). An upload is published "
            "only when it is complete; run the same command again"
        ) from error
