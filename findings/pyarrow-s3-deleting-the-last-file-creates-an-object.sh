#!/usr/bin/env bash
# S3FileSystem.delete_file puts an empty object "folder/" in place of the last file of a folder, although nobody
# created that folder, and delete_dir does so for the folder above. It matters for clean-up by a job that may delete
# but not write, and for tools that list the bucket and find objects where there should be none.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages pyarrow==26.0.1 "moto[server]==5.2.5" boto3==1.44.8 numpy==2.4.6

python - <<'PYTHON'
import boto3, pyarrow
from moto.server import ThreadedMotoServer
from pyarrow.fs import S3FileSystem

server = ThreadedMotoServer(port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
keys = dict(aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", **keys)
s3 = S3FileSystem(endpoint_override=f"http://127.0.0.1:{port}", access_key="a", secret_key="b", region="us-east-1")


def left(bucket, key, delete):
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key=key, Body=b"1")
    delete()
    return [(found["Key"], found["Size"]) for found in client.list_objects_v2(Bucket=bucket).get("Contents", [])]


file = left("one", "run/shard.txt", lambda: s3.delete_file("one/run/shard.txt"))
folder = left("two", "run/shards/shard.txt", lambda: s3.delete_dir("two/run/shards"))
server.stop()
print(f"pyarrow {pyarrow.__version__}: objects after delete_file of the only one: {file}; after delete_dir: {folder}")
assert file == folder == [("run/", 0)]
PYTHON
