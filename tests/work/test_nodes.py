"""What a stage needs of the nodes, on a Ray of this machine; clusters that grow are in tests/cluster."""

import pytest
import ray

from gradret.config.resources import Placement, TrainResources, Workers, ray_options
from gradret.errors import ConfigError
from gradret.store.artifacts import Draft
from gradret.store.results import Result
from gradret.work.nodes import require_nodes
from gradret.work.session import is_local
from gradret.work.shards import map_shards


def test_a_bundle_names_what_a_worker_takes():
    place = Placement(accelerator_type="A100", memory=1.5, custom={"spot": 0.5})
    want = {"CPU": 2, "GPU": 0.5, "memory": 1610612736, "spot": 0.5, "accelerator_type:A100": 0.001}
    assert place.bundle(cpus=2, gpus=0.5) == want
    assert Placement().bundle() == {"CPU": 1}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Workers(memory=-1),
        lambda: Workers(custom={"spot": -1}),
        lambda: TrainResources(wait_minutes=-1),
        lambda: TrainResources(num_workers=2, min_workers=3),
    ],
)
def test_amounts_are_checked(make):
    with pytest.raises(ConfigError):
        make()


@pytest.mark.parametrize(
    ("workers", "wanted"),
    [
        (Workers(gpus=1), "1 CPU, 1 GPU"),
        (Workers(memory=1e6), "1 CPU, 1000000.0 GiB memory"),
        (Workers(accelerator_type="A100"), "1 CPU, A100"),
        (Workers(custom={"spot": 1}), "1 CPU, 1 spot"),
    ],
)
def test_this_machine_gets_no_more_nodes(workers, wanted, ray_session, tmp_path):
    (tmp_path / "work").mkdir()
    with pytest.raises(ConfigError) as refused:
        map_shards(Draft(tmp_path, "label"), ["one"], Worker, workers=workers)
    assert str(refused.value).startswith(f"label needs a node with {wanted}, but this machine has ")
    assert str(refused.value).endswith("; ask for less in label's resources, or use a cluster (RAY_ADDRESS)")


def test_workers_must_fit_together(ray_session):
    cpus = ray.cluster_resources()["CPU"]
    require_nodes("train", {"CPU": 1}, int(cpus), 0)
    with pytest.raises(ConfigError, match=f"train needs nodes for {cpus + 1:g} workers, each with 1 CPU, but"):
        require_nodes("train", {"CPU": 1}, int(cpus) + 1, 0)


class Worker:
    """Counts what Ray gave it."""

    def __call__(self, item):
        given = ray.get_runtime_context().get_assigned_resources()
        return Result({}, 0, 0, counts={name: int(amount) for name, amount in given.items()})


def test_a_worker_gets_what_its_stage_takes(ray_session, tmp_path):
    draft = Draft(tmp_path, "label")
    map_shards(draft, ["one"], Worker, workers=Workers(memory=0.25))
    assert (draft.counts["CPU"], draft.counts["memory"]) == (1, 1 << 28)


def test_workers_know_that_this_ray_is_alone(ray_session):
    assert is_local()
    assert ray.get(ray.remote(is_local).remote())


def test_options_are_those_of_a_task(ray_session):
    """Ray itself accepts them."""
    bundle = Placement(accelerator_type="A100", memory=0.25, custom={"spot": 0.5}).bundle(gpus=0.5)
    options = {"num_cpus": 1, "num_gpus": 0.5, "memory": 1 << 28}
    assert ray_options(bundle) == options | {"resources": {"spot": 0.5, "accelerator_type:A100": 0.001}}
    ray.remote(lambda: None).options(**ray_options(bundle))
