#!/usr/bin/env bash
# After one ls of a folder, s3fs answers exists with False and open with FileNotFoundError for a file that another
# process has put there since: both look into the listing and do not ask S3. find sees it. It matters for workers that
# wait for each other's shards (invalidate_cache() helps).
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages s3fs==2026.9.0 aiobotocore==3.10.0 boto3==1.43.117 "moto[server]==5.2.5"

python - <<'PYTHON'
import s3fs
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()


def connect():
    return s3fs.S3FileSystem(endpoint_url=f"http://127.0.0.1:{port}", key="a", secret="b", skip_instance_cache=True)


reader, writer = connect(), connect()
writer.mkdir("bucket")
writer.pipe("bucket/run/0.txt", b"first")
reader.ls("bucket/run")
writer.pipe("bucket/run/1.txt", b"second")
exists, found = reader.exists("bucket/run/1.txt"), reader.find("bucket/run")
try:
    opened = reader.open("bucket/run/1.txt").read()
except FileNotFoundError as error:
    opened = type(error).__name__
reader.invalidate_cache()
later = reader.open("bucket/run/1.txt").read()
server.stop()
print(f"s3fs {s3fs.__version__}: a file written after ls: exists {exists}, open {opened}, find {found}")
print(f"  open after invalidate_cache: {later}")
assert exists is False and opened == "FileNotFoundError" and len(found) == 2 and later == b"second"
PYTHON
