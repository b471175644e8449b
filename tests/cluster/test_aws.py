"""From an empty account to a spot machine and back, through Ray's own node provider, on moto."""

import copy
import json
import os
from pathlib import Path

import boto3
import pytest
import typer
from botocore.exceptions import ParamValidationError
from ray.autoscaler._private.aws.utils import resource_cache
from ray.autoscaler._private.providers import _get_node_provider, _get_node_provider_cls
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.tags import (
    NODE_KIND_WORKER,
    TAG_RAY_LAUNCH_CONFIG,
    TAG_RAY_NODE_KIND,
    TAG_RAY_NODE_NAME,
    TAG_RAY_NODE_STATUS,
    TAG_RAY_USER_NODE_TYPE,
)
from typer.testing import CliRunner

pytestmark = pytest.mark.slow
MINE = "198.51.100.7/32"


@pytest.fixture(scope="module")
def cli(aws_account, on_moto):
    app = typer.Typer()
    app.command()(aws_account.main)
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.fixture(scope="module")
def group(cli):
    """The security group that aws_account.py prints for an empty account."""
    done = cli("--bucket", "results", "--ssh-from", MINE)
    assert done.exit_code == 0, done.output
    return done.output.split()[-1]


@pytest.fixture(scope="module")
def image(on_moto):
    return boto3.client("ec2").describe_images(Owners=["amazon"])["Images"][0]["ImageId"]


@pytest.fixture
def filled(aws, group, image):
    """aws.yaml with what a user writes into it."""
    for node in aws["available_node_types"].values():
        launch = node["node_config"]
        assert launch["SecurityGroupIds"] == ["sg-00000000000000000"]
        launch["SecurityGroupIds"] = [group]
        # moto does not look images up by parameter
        assert launch["ImageId"].startswith("resolve:ssm:/aws/service/deeplearning/")
        launch["ImageId"] = image
    return aws


@pytest.fixture(scope="module")
def made():
    """The one bootstrapped configuration of this module: asking for all machine types is slow."""
    return {}


@pytest.fixture
def config(filled, made):
    """What `ray up` makes of the file before it launches the head."""
    if not made:
        roles = names_of_roles()
        resource_cache.cache_clear()
        wanted = prepare_config(filled)
        validate_config(wanted)
        provider = _get_node_provider_cls(wanted["provider"])
        wanted = provider.fillout_available_node_types_resources(wanted)
        made.update(provider.bootstrap_config(wanted))
        assert names_of_roles() == roles, "Ray made a role of its own"
    return copy.deepcopy(made)


def names_of_roles():
    return [role["RoleName"] for role in boto3.client("iam").list_roles()["Roles"]]


def tags(kind):
    return {
        TAG_RAY_NODE_KIND: NODE_KIND_WORKER,
        TAG_RAY_USER_NODE_TYPE: kind,
        TAG_RAY_NODE_STATUS: "uninitialized",
        TAG_RAY_NODE_NAME: "ray-raykd-worker",
        TAG_RAY_LAUNCH_CONFIG: "hash",
    }


def group_rules(group):
    (found,) = boto3.client("ec2").describe_security_groups(GroupIds=[group])["SecurityGroups"]
    return found["IpPermissions"]


def test_roles_hold_the_rights_of_the_policy_files_and_no_others(group):
    iam = boto3.client("iam")
    for role, policies in {
        "raykd-head": {"iam_policy", "iam_policy_head"},
        "raykd-worker": {"iam_policy"},
    }.items():
        assert set(iam.list_role_policies(RoleName=role)["PolicyNames"]) == policies
        assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []
        profile = iam.get_instance_profile(InstanceProfileName=role)["InstanceProfile"]
        assert [r["RoleName"] for r in profile["Roles"]] == [role]
        document = json.dumps(iam.get_role_policy(RoleName=role, PolicyName="iam_policy"))
        assert "arn:aws:s3:::results/raykd/*" in document
        assert "BUCKET" not in document
    paths = [role["Path"] for role in iam.list_roles()["Roles"]]
    assert "/aws-service-role/spot.amazonaws.com/" in paths


def test_the_bucket_is_private_and_drops_unfinished_uploads(group):
    s3 = boto3.client("s3")
    closed = s3.get_public_access_block(Bucket="results")["PublicAccessBlockConfiguration"]
    assert set(closed.values()) == {True}
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket="results")["Rules"]
    assert rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 7


def test_a_bucket_in_another_region_is_refused(cli):
    boto3.client("s3", region_name="eu-west-1").create_bucket(
        Bucket="far-away", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    done = cli("--bucket", "far-away", "--ssh-from", MINE)
    assert done.exit_code != 0
    assert "eu-west-1" in done.output


@pytest.mark.parametrize("everyone", ["0.0.0.0/0", "10.0.0.0/8", "", "me"])
def test_only_an_address_of_ones_own_may_use_ssh(aws_account, everyone):
    with pytest.raises(ValueError, match="allowed is an IPv4 range"):
        aws_account.checked_range(everyone)


def test_ray_finds_everything_made_and_opens_nothing(config, group):
    ec2 = boto3.client("ec2")
    for node in config["available_node_types"].values():
        launch = node["node_config"]
        assert launch["SubnetIds"]
        assert launch["SecurityGroupIds"] == [group]
        assert ec2.describe_key_pairs(KeyNames=[launch["KeyName"]])["KeyPairs"]
    assert who_gets_in(group) == {MINE, group}
    groups = ec2.describe_security_groups()["SecurityGroups"]
    assert {g["GroupName"] for g in groups} == {"default", "raykd"}
    key = Path(config["auth"]["ssh_private_key"])
    assert key.parent == Path(os.environ["HOME"]) / ".ssh"
    assert key.stat().st_mode & 0o077 == 0


def who_gets_in(group):
    (found,) = boto3.client("ec2").describe_security_groups(GroupIds=[group])["SecurityGroups"]
    rules = found["IpPermissions"]
    assert not any(rule["Ipv6Ranges"] for rule in rules)
    addresses = {place["CidrIp"] for rule in rules for place in rule["IpRanges"]}
    return addresses | {pair["GroupId"] for rule in rules for pair in rule["UserIdGroupPairs"]}


def test_a_second_run_closes_what_somebody_opened(group, cli):
    boto3.client("ec2").authorize_security_group_ingress(
        GroupId=group, IpProtocol="tcp", FromPort=8265, ToPort=8265, CidrIp="0.0.0.0/0"
    )
    assert "0.0.0.0/0" in who_gets_in(group)
    done = cli("--bucket", "results", "--ssh-from", MINE)
    assert done.exit_code == 0, done.output
    assert done.output.split()[-1] == group
    assert who_gets_in(group) == {MINE, group}


def test_without_the_security_group_nothing_starts(aws, on_moto, capsys):
    resource_cache.cache_clear()
    config = prepare_config(aws)
    with pytest.raises(AssertionError):
        _get_node_provider_cls(config["provider"]).bootstrap_config(config)
    assert "SecurityGroupIds" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["gpu_spot", "gpu_on_demand"])
def test_resources_are_those_of_the_machine(aws, on_moto, kind):
    node = aws["available_node_types"][kind]
    (machine,) = boto3.client("ec2").describe_instance_types(
        InstanceTypes=[node["node_config"]["InstanceType"]]
    )["InstanceTypes"]
    assert node["resources"] == {
        "CPU": machine["VCpuInfo"]["DefaultVCpus"],
        "GPU": sum(gpu["Count"] for gpu in machine["GpuInfo"]["Gpus"]),
    }


@pytest.mark.parametrize(("kind", "lifecycle"), [("gpu_spot", "spot"), ("gpu_on_demand", None)])
def test_a_worker_starts_with_its_role_and_ends_for_good(config, kind, lifecycle):
    provider = _get_node_provider(config["provider"], config["cluster_name"])
    provider.create_node(config["available_node_types"][kind]["node_config"], tags(kind), 1)
    (node,) = provider.non_terminated_nodes({TAG_RAY_USER_NODE_TYPE: kind})
    ec2 = boto3.client("ec2")
    (machine,) = ec2.describe_instances(InstanceIds=[node])["Reservations"][0]["Instances"]
    assert machine["InstanceType"] == "g5.2xlarge"
    assert machine.get("InstanceLifecycle") == lifecycle
    assert {"Key": "ray-cluster-name", "Value": "raykd"} in machine["Tags"]
    assert machine["IamInstanceProfile"]["Arn"].endswith("/raykd-worker")
    provider.terminate_nodes([node])
    assert provider.non_terminated_nodes({TAG_RAY_USER_NODE_TYPE: kind}) == []
    (machine,) = ec2.describe_instances(InstanceIds=[node])["Reservations"][0]["Instances"]
    assert machine["State"]["Name"] == "terminated"


@pytest.mark.parametrize("kind", ["head", "gpu_spot", "gpu_on_demand"])
def test_a_typo_in_a_node_config_fails(config, kind):
    provider = _get_node_provider(config["provider"], config["cluster_name"])
    launch = config["available_node_types"][kind]["node_config"] | {"InstnceType": "m6i.large"}
    with pytest.raises(ParamValidationError, match="InstnceType"):
        provider.create_node(launch, tags(kind), 1)


def test_everything_but_the_bucket_can_be_taken_away(group, cli):  # the last of this account
    for _ in range(2):  # the second time there is nothing left to take
        assert cli("--bucket", "results", "--delete").exit_code == 0
        assert not {"raykd-head", "raykd-worker"} & set(names_of_roles())
        groups = boto3.client("ec2").describe_security_groups()["SecurityGroups"]
        assert {g["GroupName"] for g in groups} == {"default"}
        assert boto3.client("s3").head_bucket(Bucket="results")
