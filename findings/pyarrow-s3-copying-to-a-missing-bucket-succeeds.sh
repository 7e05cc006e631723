#!/usr/bin/env bash
# With allow_delayed_open, which saves a request a file, copy_files to a bucket that does not exist returns as if it had
# copied: the upload fails when the stream is destroyed, where nobody hears it. It matters for publishing a model or an
# index shard: ask the store for the object's size after the copy.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages pyarrow==26.0.1 "moto[server]==5.2.5" numpy==2.4.6

python - <<'PYTHON' 2> errors.txt
from pathlib import Path

import pyarrow
from moto.server import ThreadedMotoServer
from pyarrow.fs import FileType, LocalFileSystem, S3FileSystem, copy_files

server = ThreadedMotoServer(port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
keys = {"endpoint_override": f"http://127.0.0.1:{port}", "access_key": "a", "secret_key": "b", "region": "us-east-1"}
Path("shard").write_bytes(b"vectors")


def copy(**options):
    store = S3FileSystem(**keys, **options)
    try:
        copy_files(
            str(Path("shard").absolute()), "nowhere/shard",
            source_filesystem=LocalFileSystem(), destination_filesystem=store,
        )
        raised = None
    except OSError as error:
        raised = type(error).__name__
    return raised, store.get_file_info("nowhere/shard").type


at_once, delayed = copy(), copy(allow_delayed_open=True)
server.stop()
print(f"pyarrow {pyarrow.__version__}: copy_files to a missing bucket raises {at_once[0]}; with allow_delayed_open: {delayed[0]}")
print(f"what the store then has: {delayed[1].name}")
assert at_once[0] is not None and delayed == (None, FileType.NotFound)
PYTHON
