#!/usr/bin/env bash
# all_reduce(MAX) over gloo keeps a nan of rank 0 and drops one of rank 1, where torch.maximum keeps any nan. It
# matters for a "did anybody diverge" check that takes the maximum loss over workers: it depends on which worker has
# the nan.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 numpy==2.4.6

python - <<'PYTHON'
import os, tempfile
import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def worker(rank, file):
    dist.init_process_group("gloo", init_method=f"file://{file}.store", rank=rank, world_size=2)
    nan = float("nan")
    values = torch.tensor([nan, 1.0] if rank == 0 else [1.0, nan])
    dist.all_reduce(values, op=dist.ReduceOp.MAX)
    torch.save(values, f"{file}.{rank}")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    file = os.path.join(tempfile.mkdtemp(dir="."), "result")
    mp.start_processes(worker, (os.path.abspath(file),), nprocs=2, start_method="fork")
    seen = [torch.load(f"{file}.{rank}").tolist() for rank in (0, 1)]
    local = torch.maximum(torch.tensor([float("nan"), 1.0]), torch.tensor([1.0, float("nan")])).tolist()
    print(
        f"torch {torch.__version__}: all_reduce(MAX) of [nan, 1] on rank 0 and [1, nan] on rank 1: {seen}; torch.maximum: {local}"
    )
    for first, second in seen:
        assert first != first and second == 1
    assert all(value != value for value in local)
PYTHON
