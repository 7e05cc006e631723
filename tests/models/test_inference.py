"""Which device a model runs on, with a stand-in for the GPU: Ray counts one, and torch says that it has one."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = """
import ray
ray.init("local", num_cpus=2, num_gpus=1, include_dashboard=False, logging_level="ERROR")

def device(has_gpu=True):
    import torch
    from gradret.models.inference import assigned_device
    torch.cuda.is_available = lambda: has_gpu
    return assigned_device()

class Actor:
    def device(self):
        return device()

def ask(gpus, has_gpu=True):
    return ray.get(ray.remote(device).options(num_gpus=gpus).remote(has_gpu))

def ask_actor(gpus):
    return ray.get(ray.remote(Actor).options(num_gpus=gpus).remote().device.remote())

print(ask(0), ask(1), ask(1, has_gpu=False), ask_actor(0), ask_actor(0.5), device(), device(has_gpu=False))
"""


def test_a_task_without_a_gpu_uses_none():
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["cpu", "cuda", "cpu", "cpu", "cuda", "cuda", "cpu"], done.stderr
