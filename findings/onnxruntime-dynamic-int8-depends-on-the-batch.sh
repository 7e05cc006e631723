#!/usr/bin/env bash
# A model quantized by onnxruntime's quantize_dynamic scales its activations by the largest of the whole input: a
# text's vector depends on what else is in its batch, and one outlier coarsens all others. It matters for embeddings
# served in batches: a query encoded alone and a document encoded among others are rounded differently, and no run
# repeats under other batching.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6

python - <<'PYTHON'
import logging
import numpy, onnx, onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import quantize_dynamic

logging.disable(logging.WARNING)
random = numpy.random.default_rng(0)
weights = random.normal(size=(16, 8)).astype(numpy.float32)
graph = helper.make_graph(
    [helper.make_node("MatMul", ["x", "w"], ["y"])],
    "encoder",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 16])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 8])],
    [numpy_helper.from_array(weights, "w")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
onnx.save(model, "float.onnx")
quantize_dynamic("float.onnx", "int8.onnx")
text = random.normal(size=(1, 16)).astype(numpy.float32)


def moved(file):
    session = onnxruntime.InferenceSession(file)
    alone = session.run(None, {"x": text})[0][0]
    beside = session.run(None, {"x": numpy.vstack([text, 50 * text])})[0][0]
    return float(alone @ beside / numpy.linalg.norm(alone) / numpy.linalg.norm(beside))


seen = {file: moved(file) for file in ("float.onnx", "int8.onnx")}
print(
    f"onnxruntime {onnxruntime.__version__}: cosine of a row's output alone and beside a row 50 times as large: {seen}"
)
# How far it moves depends on the processor's instructions.
assert seen["float.onnx"] > 0.99999 and seen["int8.onnx"] < 0.99
PYTHON
