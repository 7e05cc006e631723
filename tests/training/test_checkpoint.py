import json

import pytest
import torch

from gradret.training.checkpoint import load_checkpoint, save_checkpoint


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "last.safetensors"
    tensors = {
        "parameter.0": torch.nn.Parameter(torch.randn(3, 4)),
        "turned": torch.randn(3, 4).double().T,
        "adam.0.step": torch.tensor(7.0),
        "empty": torch.zeros(0, 2),
    }
    progress = {"epoch": 2, "step": 9, "best": {"dev_loss": 0.1 + 0.2}, "best_epoch": -1}
    save_checkpoint(path, tensors, progress)
    found, stands = load_checkpoint(path)
    assert stands == progress
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor.detach())
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.safetensors"]


def test_nothing_there_is_none(tmp_path):
    assert load_checkpoint(tmp_path / "last.safetensors") is None


def test_a_failed_write_leaves_the_old_one(tmp_path):
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, {"a": torch.ones(2)}, {"epoch": 1})
    with pytest.raises(TypeError):
        save_checkpoint(path, {"a": torch.zeros(2)}, {"epoch": json})
    assert torch.equal(load_checkpoint(path)[0]["a"], torch.ones(2))
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.safetensors"]
