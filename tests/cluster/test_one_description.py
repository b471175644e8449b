"""Versions, packages and start commands are written once: these fail when a file drifts from it."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMMAND_LISTS = (
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
NAME = PROJECT["name"]


def pins():
    """Package to pinned version, and whether every pin has a hash."""
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements.txt").read_text())
    found = {}
    for entry in entries:
        if match := re.match(r"([\w.-]+)==([^\s;\\]+)([^\\]*)", entry):
            name, version, marker = match.groups()
            assert "--hash=sha256:" in entry, f"{name} has no hash"
            found.setdefault(name, []).append((version, marker))
    return found


PINS = pins()


def needs(name):
    return next(
        requirement
        for requirement in map(Requirement, PROJECT["dependencies"])
        if requirement.name == name
    )


RAY = next(version for version, _ in PINS["ray"])
# Ray builds an image for each minor version of Python; ours is the oldest that the project allows.
PYTHON = next(s.version for s in SpecifierSet(PROJECT["requires-python"]) if s.operator == ">=")
IMAGE = f"rayproject/ray:{RAY}-py{PYTHON.replace('.', '')}-gpu"


@pytest.mark.parametrize("dependency", PROJECT["dependencies"])
def test_what_the_project_needs_is_pinned(dependency):
    requirement = Requirement(dependency)
    assert requirement.name in PINS, f"run `make requirements`: {dependency} is not pinned"
    for version, _ in PINS[requirement.name]:
        assert Version(version) in requirement.specifier, "run `make requirements`"


def test_ray_is_pinned_to_one_version():
    assert len(PINS["ray"]) == 1
    assert Version(RAY) in needs("ray").specifier
    minor = Version(f"{Version(RAY).major}.{Version(RAY).minor + 1}")
    assert minor not in needs("ray").specifier


def test_every_image_is_of_the_pinned_ray_and_python():
    images = {
        path.name: re.findall(r"rayproject/ray\S*", path.read_text())
        for path in CLUSTER.iterdir()
        if path.is_file()
    }
    assert {name for name, found in images.items() if found} == {
        "Dockerfile",
        "aws.yaml",
        "gcp.yaml",
    }
    assert {image for found in images.values() for image in found} == {IMAGE}


def test_pins_are_resolved_for_the_python_of_the_image():
    assert f"--python-version {PYTHON}" in (ROOT / "Makefile").read_text()


def test_own_machines_use_the_same_python(on_premise):
    assert f"python{PYTHON} -m venv" in on_premise["setup_commands"][0]


def test_kubernetes_runs_the_pinned_ray_in_the_image_of_this_version(kuberay):
    spec = kuberay["RayCluster"]["spec"]
    assert spec["rayVersion"] == RAY
    pods = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    images = {
        container["image"] for pod in pods for container in pod["template"]["spec"]["containers"]
    }
    assert images == {f"REGISTRY/{NAME}:{PROJECT['version']}"}
    assert f"-t {images.pop()} ." in (CLUSTER / "Dockerfile").read_text()


def test_the_job_brings_up_the_cluster_that_stands_beside_it(kuberay):
    assert kuberay["RayJob"]["spec"]["rayClusterSpec"] == kuberay["RayCluster"]["spec"]


def test_commands_are_the_same_everywhere(aws, gcp, on_premise):
    for key in COMMAND_LISTS:
        assert aws[key] == gcp[key], key
    for key in COMMAND_LISTS[1:]:
        assert aws[key] == on_premise[key], key
    assert any("cluster/setup.sh" in command for command in on_premise["setup_commands"])
    assert aws["docker"] == gcp["docker"]


def test_the_image_is_set_up_like_a_node():
    assert "RUN bash cluster/setup.sh" in (CLUSTER / "Dockerfile").read_text()


def test_nothing_is_left_to_rays_defaults(aws, gcp, on_premise):
    for config in (aws, gcp, on_premise):
        assert set(COMMAND_LISTS) <= config.keys()


def test_every_cluster_asks_for_the_token(aws, gcp, on_premise, kuberay):
    assert "export RAY_AUTH_MODE=token" in (CLUSTER / "start.sh").read_text()
    for config in (aws, gcp):
        assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    for config in (aws, gcp, on_premise):
        assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert kuberay["RayCluster"]["spec"]["authOptions"] == {"mode": "token"}


def test_the_head_holds_drivers_and_no_trials(aws, gcp, kuberay):
    for config in (aws, gcp):
        types = config["available_node_types"]
        head = types.pop(config["head_node_type"])
        assert head["resources"] == {"CPU": 0, "GPU": 0, "driver": 1}
        for worker in types.values():
            assert worker["resources"]["GPU"] == 1
            assert "driver" not in worker["resources"]
    flags = kuberay["RayCluster"]["spec"]["headGroupSpec"]["rayStartParams"]
    assert (flags["num-cpus"], flags["num-gpus"]) == ("0", "0")
    assert json.loads(json.loads(flags["resources"].strip("'"))) == {"driver": 1}


def test_nothing_is_paid_for_without_work(aws, gcp, kuberay):
    for config in (aws, gcp):
        assert config["idle_timeout_minutes"] <= 10
        assert config["provider"]["cache_stopped_nodes"] is False
        for worker in config["available_node_types"].values():
            assert worker.get("min_workers", 0) == 0
    spec = kuberay["RayCluster"]["spec"]
    assert spec["enableInTreeAutoscaling"]
    assert spec["autoscalerOptions"]["idleTimeoutSeconds"] <= 600
    assert all(group["minReplicas"] == 0 for group in spec["workerGroupSpecs"])
    assert kuberay["RayJob"]["spec"]["shutdownAfterJobFinishes"] is True


def test_the_prefix_in_the_bucket_is_the_projects_name():
    policy = (CLUSTER / "iam_policy.json").read_text()
    assert set(re.findall(r"BUCKET/(\w+)", policy)) == {NAME}


def test_every_head_tells_its_jobs_where_results_go(aws, gcp, on_premise, kuberay):
    told = f"RAYKD_STORAGE=s3://BUCKET/{NAME} RAYKD_IMAGENET=s3://BUCKET/{NAME}/data/imagenet "
    for config in (aws, gcp, on_premise):
        [command] = config["head_start_ray_commands"]
        assert command.startswith(told)
    [head] = kuberay["RayCluster"]["spec"]["headGroupSpec"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable["value"] for variable in head["env"]}
    assert all(pair in [f"{n}={v}" for n, v in variables.items()] for pair in told.split())
    assert kuberay["RayJob"]["spec"]["entrypoint"] == "python studies/imagenet_itrd.py"


def test_the_heads_rights_are_for_the_cluster_and_the_role_in_aws_yaml(aws):
    policy = (CLUSTER / "iam_policy_head.json").read_text()
    assert set(re.findall(r'ray-cluster-name": "(\w+)"', policy)) == {aws["cluster_name"]}
    profiles = {
        node["node_config"]["IamInstanceProfile"]["Name"]
        for kind, node in aws["available_node_types"].items()
        if kind != aws["head_node_type"]
    }
    assert re.findall(r":role/([\w*-]+)", policy) == list(profiles)


SECRETS = re.compile(r"AKIA|aws_secret|PRIVATE KEY|password|hf_\w{20}|auth_token:? *[=:] *\w{16}")


@pytest.mark.parametrize("path", sorted(CLUSTER.glob("*.*")), ids=lambda path: path.name)
def test_no_secret_is_in_a_file(path):
    assert not SECRETS.search(path.read_text())
