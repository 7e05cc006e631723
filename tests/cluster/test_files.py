"""The files of cluster/: Ray's own checks, KubeRay's schemas, and the versions they share with pyproject.toml."""

import copy
import json
import os
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from gradret.version import VERSION

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
CLOUDS = ("aws", "gcp")
MANIFESTS = ("raycluster", "rayjob")
DEPENDENCIES = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]


def read(name):
    return yaml.safe_load((CLUSTER / f"{name}.yaml").read_text(encoding="utf-8"))


def ray_cluster(name):
    spec = read(f"kuberay/{name}")["spec"]
    return spec.get("rayClusterSpec", spec)


def containers(spec):
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    return [one for group in groups for one in group["template"]["spec"]["containers"]]


@pytest.mark.parametrize("name", CLOUDS)
def test_a_cloud_passes_rays_checks(name):
    validate_config(prepare_config(read(name)))


def test_the_local_cluster_passes_rays_checks():
    """Without Ray's defaults, which this provider has none of."""
    validate_config(read("local"))


@pytest.mark.parametrize("name", CLOUDS)
def test_a_cloud_starts_gpu_nodes_from_none(name):
    config = read(name)
    head, gpu = config["available_node_types"]["head"], config["available_node_types"]["gpu"]
    assert head["resources"].get("GPU", 0) == 0
    assert (gpu["min_workers"], gpu["resources"]["GPU"]) == (0, 1)
    assert gpu["max_workers"] == config["max_workers"] > 0


@pytest.mark.parametrize("name", CLOUDS)
def test_a_cloud_asks_for_a_token_and_shows_the_dashboard_to_nobody(name):
    config = read(name)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert any(command.startswith("chmod 600 ~/.ray/auth_token") for command in config["setup_commands"])
    assert any("RAY_AUTH_MODE=token HF_HOME=/shared/" in command for command in config["setup_commands"])
    assert "HF_TOKEN" not in (CLUSTER / f"{name}.yaml").read_text(encoding="utf-8")
    starts = [command for command in config["head_start_ray_commands"] if "ray start" in command]
    assert all(". ~/gradret.env" in command and "--dashboard-host=127.0.0.1" in command for command in starts)
    assert starts


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_has_no_field_that_kuberay_does_not_know(name):
    """Against the schema of its custom resource, a folder of which KUBERAY_SCHEMAS names; by hand without it."""
    manifest = read(f"kuberay/{name}")
    assert manifest["apiVersion"] == "ray.io/v1"
    folder = os.environ.get("KUBERAY_SCHEMAS")
    if not folder:
        known = {"rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec"}
        assert set(ray_cluster(name)) == known | {"workerGroupSpecs"}
        return
    schema = json.loads((Path(folder) / f"{manifest['kind'].lower()}s.v1.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(manifest, closed(schema))


def closed(schema):
    """A copy of a schema that refuses unknown keys wherever it names the known ones."""
    schema = copy.deepcopy(schema)
    known = schema["properties"]["spec"]
    todo = [known]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            if "properties" in node and not node.get("x-kubernetes-preserve-unknown-fields"):
                node.setdefault("additionalProperties", False)
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    return schema


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_grows_from_no_worker_and_takes_secrets_by_reference(name):
    spec = ray_cluster(name)
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["enableInTreeAutoscaling"] is True
    groups = {group["groupName"]: group for group in spec["workerGroupSpecs"]}
    assert set(groups) == {"cpu", "gpu"}
    assert all((group["minReplicas"], group["replicas"]) == (0, 0) for group in groups.values())
    for container in containers(spec):
        token = next(one for one in container["env"] if one["name"] == "HF_TOKEN")
        assert set(token) == {"name", "valueFrom"}
        assert container["volumeMounts"] == [{"name": "storage", "mountPath": "/shared"}]
    for group in [spec["headGroupSpec"], *groups.values()]:
        assert group["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == "gradret-storage"


def test_both_manifests_describe_the_same_cluster():
    assert ray_cluster("raycluster") == ray_cluster("rayjob")


def test_images_and_ray_have_the_versions_of_this_package():
    (pinned,) = re.findall(r"ray\[.*\]==([\d.]+)", "\n".join(DEPENDENCIES))
    for name in MANIFESTS:
        assert ray_cluster(name)["rayVersion"] == pinned
        assert {one["image"] for one in containers(ray_cluster(name))} == {f"REGISTRY/gradret:{VERSION}-gpu"}
    torch = next(one for one in DEPENDENCIES if one.startswith("torch=="))
    assert torch in (CLUSTER / "Dockerfile").read_text(encoding="utf-8")


def test_images_copy_only_what_the_build_context_has():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    context = {one.removeprefix("!") for one in ignored if one.startswith("!")}
    for name in ("Dockerfile", "Dockerfile.gpu"):
        copied = re.findall(r"^COPY --chown=ray (.*) \S+$", (CLUSTER / name).read_text(encoding="utf-8"), re.MULTILINE)
        assert {one for line in copied for one in line.split()} == context
    assert all((ROOT / one).exists() for one in context)
