"""cluster/kuberay.yaml against the published fields of the KubeRay resources."""

import copy
import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from raykd.runtime.capacity import NODE_TYPES

SCHEMA = Draft202012Validator(
    json.loads((Path(__file__).parent / "kuberay_schema.json").read_text())
)


@pytest.mark.parametrize("kind", ["RayCluster", "RayJob"])
def test_a_document_is_valid(kuberay, kind):
    assert best_match(SCHEMA.iter_errors(kuberay[kind])) is None


def broken(document, change):
    document = copy.deepcopy(document)
    change(document["spec"])
    return document


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec.update(enableInTreeAutoscalin=True),
        lambda spec: spec.update(authOptions={"mode": "on"}),
        lambda spec: spec["autoscalerOptions"].update(idleTimeoutSeconds="600"),
        lambda spec: spec["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
        lambda spec: spec["workerGroupSpecs"][0].pop("groupName"),
        lambda spec: spec["headGroupSpec"]["template"]["spec"]["containers"].clear(),
    ],
)
def test_a_mistake_is_refused(kuberay, change):
    assert not SCHEMA.is_valid(broken(kuberay["RayCluster"], change))


def pods(spec):
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]


def test_only_workers_ask_for_a_gpu_and_their_volumes_exist(kuberay):
    head, *workers = pods(kuberay["RayCluster"]["spec"])
    (container,) = head["template"]["spec"]["containers"]
    assert "nvidia.com/gpu" not in container["resources"]["limits"]
    for worker in workers:
        spec = worker["template"]["spec"]
        (container,) = spec["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert container["resources"]["limits"] == container["resources"]["requests"]
        volumes = {volume["name"] for volume in spec["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_pods_get_their_rights_from_a_service_account_not_from_keys(kuberay):
    for pod in pods(kuberay["RayCluster"]["spec"]):
        spec = pod["template"]["spec"]
        assert spec["serviceAccountName"] == "raykd"
        assert all("envFrom" not in c for c in spec["containers"])
        names = {variable["name"] for c in spec["containers"] for variable in c.get("env", [])}
        assert names <= {NODE_TYPES, "RAYKD_STORAGE", "RAYKD_IMAGENET"}


def test_the_head_knows_how_far_the_cluster_can_grow(kuberay):
    """KubeRay does not tell it, and a study asks for as many cohorts as fit on all of them."""
    spec = kuberay["RayCluster"]["spec"]
    [container] = spec["headGroupSpec"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    types = yaml.safe_load(variables[NODE_TYPES])
    assert set(types) == {group["groupName"] for group in spec["workerGroupSpecs"]}
    for group in spec["workerGroupSpecs"]:
        [worker] = group["template"]["spec"]["containers"]
        limits, told = worker["resources"]["limits"], types[group["groupName"]]
        assert told["max_workers"] == group["maxReplicas"]
        found = {"CPU": int(limits["cpu"]), "GPU": int(limits["nvidia.com/gpu"])}
        assert told["resources"] == found
