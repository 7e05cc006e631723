"""The roofline against arithmetic by hand, and sizes against torch's."""

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from gradret.errors import ConfigError
from gradret.planning.throughput import Gpu, Speed, Weights, gpu, roofline, share_of_peak, weights

CARD = Gpu(memory_gb=80, bf16_tflops=1000, bandwidth_gbs=3000)
MODEL = Weights(parameters=10e9, size=20e9)


def test_reading_is_bound_by_operations_and_writing_by_memory():
    # 1e15 / (2 x 10e9) tokens a second; 3e12 / 20e9 = 150 steps a second of 8 tokens.
    share = share_of_peak()
    assert roofline(CARD, 1, MODEL, 8) == Speed(pytest.approx(50_000 * share), pytest.approx(150 * 8 * share))


def test_writing_many_at_once_is_bound_by_operations_too():
    # 150 steps of 1,000 tokens would be 150,000 tokens a second.
    speed = roofline(CARD, 1, MODEL, 1000)
    assert speed.tokens_out == speed.tokens_in == pytest.approx(50_000 * share_of_peak())


def test_gpus_and_smaller_weights_help():
    one, two = roofline(CARD, 1, MODEL, 8), roofline(CARD, 2, MODEL, 8)
    assert (two.tokens_in, two.tokens_out) == (pytest.approx(2 * one.tokens_in), pytest.approx(2 * one.tokens_out))
    quantised = roofline(CARD, 1, Weights(10e9, 5e9), 8)
    assert (quantised.tokens_in, quantised.tokens_out) == (one.tokens_in, pytest.approx(4 * one.tokens_out))


def test_seconds_add_up():
    assert Speed(100, 10).seconds(1000, 50) == 15


def test_a_gpu_of_the_table():
    # NVIDIA H100 SXM data sheet: 80 GB, 1,979 TFLOPS with sparsity, 3.35 TB/s.
    assert gpu("H100") == Gpu(80, 989, 3350)
    with pytest.raises(ConfigError, match=r"--gpu: 'H1000' is not in the throughput table; did you mean 'H100'\?"):
        gpu("H1000")


@pytest.mark.parametrize("shards", [{}, {"max_shard_size": "200KB"}])
@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 4), (torch.bfloat16, 2)])
def test_the_size_of_a_model_in_a_folder(llm, tmp_path, dtype, size, shards):
    model = AutoModelForCausalLM.from_pretrained(llm, dtype=dtype)
    model.save_pretrained(tmp_path, **shards)
    assert (tmp_path / "model.safetensors.index.json").exists() == bool(shards)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert weights(str(tmp_path)) == Weights(parameters, parameters * size)


def test_the_size_of_quantised_weights(tmp_path):
    tensors = {
        "a": torch.zeros(8, 4).to(torch.float8_e4m3fn),
        "b": torch.zeros(6, dtype=torch.uint8),
        "c": torch.ones(2),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    assert weights(str(tmp_path)) == Weights(40, 32 + 6 + 8)


def test_a_model_whose_size_is_not_to_be_had(tmp_path):
    assert weights(str(tmp_path)) is None
