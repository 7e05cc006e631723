#!/usr/bin/env bash
# s3fs' mv of a folder does nothing, without an error, unless recursive=True is passed; with it, every file is copied,
# then FileNotFoundError is raised and the old files stay. It matters for the rename that is to publish a finished
# result: the new name is missing, or both are there.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages s3fs==2026.9.0 aiobotocore==3.10.0 boto3==1.43.117 "moto[server]==5.2.5"

python - <<'PYTHON'
import s3fs
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
s3 = s3fs.S3FileSystem(endpoint_url=f"http://127.0.0.1:{port}", key="a", secret="b")
s3.mkdir("bucket")
s3.pipe({"bucket/tmp/0": b"0", "bucket/tmp/1": b"1"})
s3.mv("bucket/tmp", "bucket/done")
plain = s3.find("bucket")
try:
    s3.mv("bucket/tmp", "bucket/done", recursive=True)
    raised = "nothing"
except FileNotFoundError as error:
    raised = type(error).__name__
recursive = s3.find("bucket")
server.stop()
print(f"s3fs {s3fs.__version__}: after mv: {plain}")
print(f"  after mv with recursive=True, which raised {raised}: {recursive}")
assert plain == ["bucket/tmp/0", "bucket/tmp/1"]
assert raised == "FileNotFoundError"
assert recursive == ["bucket/done/0", "bucket/done/1", "bucket/tmp/0", "bucket/tmp/1"]
PYTHON
