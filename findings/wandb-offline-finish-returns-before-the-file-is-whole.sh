#!/usr/bin/env bash
# W&B's finish of an offline run can return before its process has written the run's file: of a run read at once there is
# at times nothing, a second later all of it. It matters for a job that uploads the folder, or ends its machine, as soon as
# the run is finished: wait until the file has its exit record.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages wandb==0.31.0

python - <<'PYTHON'
import os
import struct
import time
from pathlib import Path

os.environ |= {"WANDB_MODE": "offline", "WANDB_DIR": str(Path.cwd()), "WANDB_SILENT": "true"}

import wandb
from wandb.proto.wandb_internal_pb2 import Record


def kinds(path):
    """The kinds of the records so far; each has a header of checksum, length and kind."""
    content, place, found = path.read_bytes(), 7, []
    while (start := place + 7) <= len(content):
        place = start + struct.unpack_from("<IHB", content, place)[1]
        if place <= len(content):
            found.append(Record.FromString(content[start:place]).WhichOneof("record_type"))
    return found


def finished(number):
    """The last record of a run's file as soon as ``finish`` has returned, and once the file is whole."""
    run = wandb.init(project="p", id=f"r{number}")
    run.log({"loss": 1.0})
    run.finish()
    (path,) = Path.cwd().glob(f"wandb/offline-run-*-r{number}/*.wandb")
    at_once = kinds(path)[-1:]
    for _ in range(600):
        if kinds(path)[-1:] == ["exit"]:
            return at_once
        time.sleep(0.1)
    raise AssertionError(kinds(path))


for number in range(60):
    at_once = finished(number)
    if at_once != ["exit"]:
        break
print(f"wandb {wandb.__version__}: last record when finish returned: {at_once or 'none'}; soon after: ['exit']")
assert at_once != ["exit"]
PYTHON
