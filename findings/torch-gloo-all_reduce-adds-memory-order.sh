#!/usr/bin/env bash
# all_reduce over gloo adds what lies in memory: where one rank's tensor is transposed and another's is not, equal
# shapes and types notwithstanding, the wrong elements are added, without an error, and the ranks end with different
# tensors. It matters for gradients and statistics whose layout depends on the data.
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
    values = torch.zeros(2, 2).t() if rank == 0 else torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    dist.all_reduce(values)
    torch.save(values.contiguous(), f"{file}.{rank}")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    file = os.path.join(tempfile.mkdtemp(dir="."), "result")
    mp.start_processes(worker, (os.path.abspath(file),), nprocs=2, start_method="fork")
    seen = [torch.load(f"{file}.{rank}").tolist() for rank in (0, 1)]
    print(
        f"torch {torch.__version__}: sum of zeros (transposed, rank 0) and [[0, 1], [2, 3]] (rank 1): rank 0 {seen[0]}, rank 1 {seen[1]}"
    )
    assert seen == [[[0, 2], [1, 3]], [[0, 1], [2, 3]]]
PYTHON
