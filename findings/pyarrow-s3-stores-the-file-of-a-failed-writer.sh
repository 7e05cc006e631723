#!/usr/bin/env bash
# Where the block that writes to S3 raises, leaving the with statement still completes the upload: a half-written text
# file, and a Parquet file that reads as a whole one with the rows so far. It matters for "the file exists, so the
# shard is done": write under another name, and rename once everything is written.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages pyarrow==26.0.1 "moto[server]==5.2.5" numpy==2.4.6

python - <<'PYTHON'
import pyarrow
import pyarrow.parquet as parquet
from moto.server import ThreadedMotoServer
from pyarrow.fs import FileSelector, S3FileSystem

server = ThreadedMotoServer(port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
s3 = S3FileSystem(
    endpoint_override=f"http://127.0.0.1:{port}",
    access_key="a",
    secret_key="b",
    region="us-east-1",
    allow_bucket_creation=True,
)
s3.create_dir("bucket")
whole = pyarrow.table({"doc": list(range(100))})
try:
    with parquet.ParquetWriter("bucket/docs.parquet", whole.schema, filesystem=s3) as writer:
        writer.write_table(whole.slice(0, 10))
        raise InterruptedError("after 10 of 100 rows")
except InterruptedError:
    pass
try:
    with s3.open_output_stream("bucket/docs.txt") as stream:
        stream.write(b"half a li")
        raise InterruptedError("in the middle of a line")
except InterruptedError:
    pass
sizes = {info.base_name: info.size for info in s3.get_file_info(FileSelector("bucket"))}
rows = parquet.read_table("bucket/docs.parquet", filesystem=s3).num_rows
server.stop()
print(
    f"pyarrow {pyarrow.__version__}: files after both writers failed: {sizes}; rows read from the Parquet file: {rows} of 100"
)
assert sizes["docs.txt"] == 9 and rows == 10
PYTHON
