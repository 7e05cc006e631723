"""GPU checks on what nvidia-smi prints; there is no GPU here. Which code runs where: NVIDIA's CUDA C++ guide."""

import pytest

from gradret.config.loading import parse
from gradret.doctor.cards import Card, Holder, cards, holders
from gradret.doctor.gpus import builds, memory, runs_on
from gradret.doctor.wanted import gpus, wanted

H200 = "GPU-5a1c6f5e-1b7e-0d3f-6a94-3d2f0c8f6f11, 9.0, 550.90.07, 143771, {used}, NVIDIA H200\n"
LEFT = "GPU-5a1c6f5e-1b7e-0d3f-6a94-3d2f0c8f6f11, 4711, 120532, VLLM::EngineCore, rank 0\n"
CUDA = {"cuda": "13.0", "architectures": ["sm_75", "sm_80", "sm_90", "sm_100"]}


def told(used=4, processes="", pids=(), **changed):
    plain = {"cards": H200.format(used=used), "processes": processes, "pids": pids, "cuda": "13.0", "torch": CUDA}
    return {**plain, "faiss": True, **changed}


def config(**blocks):
    return parse({"name": "toy", "dataset": {"name": "pydocs"}, **blocks})


def test_cards_and_holders_are_read():
    assert cards(told()["cards"]) == [
        Card("GPU-5a1c6f5e-1b7e-0d3f-6a94-3d2f0c8f6f11", (9, 0), "550.90.07", 143771, 4, "NVIDIA H200")
    ]
    assert holders(LEFT) == [Holder(cards(told()["cards"])[0].uuid, 4711, 120532, "VLLM::EngineCore, rank 0")]
    assert holders("GPU-1, 12, [N/A], [Not Found]\n\n") == [Holder("GPU-1", 12, 0, "[Not Found]")]


@pytest.mark.parametrize(
    ("architectures", "capability", "runs"),
    [
        (["sm_80", "sm_90"], (9, 0), True),
        (["sm_80", "sm_90"], (8, 9), True),  # a later minor version of the same major one
        (["sm_86"], (8, 0), False),
        (["sm_80", "sm_90"], (10, 0), False),
        (["sm_80", "compute_80"], (12, 0), True),  # compiled on the GPU
        (["compute_90"], (8, 0), False),
        (["sm_90a"], (9, 0), True),
        (["sm_100a"], (10, 3), False),  # features of one GPU only
        (["compute_90a"], (10, 0), False),
        (["gfx942"], (9, 4), False),
    ],
)
def test_code_runs_where_cuda_says(architectures, capability, runs):
    assert runs_on(architectures, capability) is runs


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"torch": {"cuda": "", "architectures": []}}, "torch is a CPU build and does not use NVIDIA H200"),
        ({"cuda": "12.4"}, "the driver 550.90.07 supports CUDA 12.4, and torch needs 13.0"),
        ({"torch": CUDA | {"architectures": ["sm_70"]}}, "torch has no code for NVIDIA H200 (sm_90), only sm_70"),
    ],
)
def test_a_torch_that_does_not_match_is_a_fault_only_where_gpus_are_wanted(machine, changed, text):
    nodes = [machine(), machine("node gpu", gpus=told(**changed))]
    (finding,) = builds(config(), nodes)
    assert (finding.level, finding.text) == ("warning", f"node gpu: {text}")
    assert finding.fix
    (finding,) = builds(config(train={"resources": {"gpus": 1}}), nodes)
    assert finding.level == "fault"


def test_cpu_builds_of_faiss_and_vllm(machine):
    versions = {"vllm": "0.29.0 (CPU build)"}
    nodes = [machine("node gpu", gpus=told(faiss=False), versions=versions)]
    assert [finding.level for finding in builds(config(), nodes)] == ["warning"]
    both = builds(config(index={"resources": {"gpus": 1}}), nodes)
    assert [finding.level for finding in both] == ["fault", "fault"]
    assert "FAISS is its CPU build" in both[0].text
    assert "vLLM 0.29.0 (CPU build)" in both[1].text
    (finding,) = builds(config(), [machine("node gpu", gpus=told())])
    assert finding.text == "node gpu: 1 x NVIDIA H200, driver 550.90.07, torch for CUDA 13.0"


def test_memory_that_is_held(machine):
    (free,) = memory([machine(gpus=told())])
    assert free.level == "ok"
    (dead,) = memory([machine(gpus=told(120600, LEFT, pids=[1, 2]))])
    assert (dead.level, dead.fix) == ("warning", "end it on the host, or restart the machine or container")
    assert "120,532 MiB of NVIDIA H200 is held by process 4711 (VLLM::EngineCore, rank 0), which is not" in dead.text
    (alive,) = memory([machine(gpus=told(120600, LEFT, pids=[4711]))])
    assert alive.fix == "end it: kill 4711"
    (nobody,) = memory([machine(gpus=told(120600))])
    assert "120,600 of 143,771 MiB of NVIDIA H200 is held by no process" in nobody.text


def test_gpus_that_the_config_wants(machine, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    engine = {"name": "vllm", "model": "a/b", "engine_kwargs": {"tensor_parallel_size": 2}, "resources": {"engines": 3}}
    want = config(
        generate={"generator": {"name": "llm_queries", "engine": engine}},
        encode={"resources": {"gpus": 0.5}},
        train={"resources": {"gpus": 1, "num_workers": 2}},
    )
    assert [(each.stage, each.gpus, each.workers) for each in wanted(want)] == [
        ("encode", 0.5, 1),
        ("train", 1, 2),
        ("generate", 2, 3),
    ]
    nodes = [machine(f"node {n}", {"GPU": number}) for n, number in enumerate([4, 1, 1])]
    (short,) = gpus(want, nodes)  # three engines of two GPUs: two fit on the first node, none on the others
    assert (short.level, short.text.count("wants")) == ("warning", 1)
    assert "wants 2 GPU for 3 workers, and the cluster has 6 for 2" in short.text
    monkeypatch.delenv("RAY_ADDRESS")
    alone = gpus(want, [machine("node", {"CPU": 2})])
    assert [finding.level for finding in alone] == ["fault"] * 3
    (well,) = gpus(config(), nodes)
    assert (well.level, well.text) == ("ok", "none wanted; the cluster has 6")
