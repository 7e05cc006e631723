import json

import pytest
import torch

from gradret.errors import DataError
from gradret.training.checkpoint import load_checkpoint, restore, save_checkpoint


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


def test_restores_by_name():
    parameters = {
        "student.0": torch.nn.Parameter(torch.zeros(2, 3)),
        "loss.0.bias": torch.nn.Parameter(torch.zeros(())),
    }
    wanted = {name: torch.randn(parameter.shape) for name, parameter in parameters.items()}
    restore(parameters, wanted | {"adam.0.step": torch.ones(())}, "last")
    assert all(torch.equal(parameters[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            {"student.0": torch.zeros(2, 4)},
            r"last is a checkpoint of another model: student\.0 has shape \(2, 4\), expected \(2, 3\)",
        ),
        ({"student.1": torch.zeros(2, 3)}, r"last is .* of another model: student\.0 is missing"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_whole(tensors, message):
    parameter = torch.nn.Parameter(torch.ones(2, 3))
    with pytest.raises(DataError, match=message):
        restore({"student.0": parameter}, tensors, "last")
    assert torch.equal(parameter, torch.ones(2, 3))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"\0" * 100])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "last.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a training checkpoint"):
        load_checkpoint(path)
