"""Makes an AWS account ready for cluster/aws.yaml, or takes that away again.

    python cluster/aws_account.py --bucket BUCKET --ssh-from 198.51.100.7/32
    python cluster/aws_account.py --bucket BUCKET --delete

Makes what is missing and leaves the rest: the bucket, the roles with the rights of iam_policy.json
and iam_policy_head.json, a security group that lets in one address, and the role with which AWS
starts spot machines. None of it is billed but what lies in the bucket, which --delete leaves alone.
Names and region come from aws.yaml.
"""

import ipaddress
import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
import yaml
from botocore.exceptions import ClientError

HERE = Path(__file__).parent
ASSUMED_BY_EC2 = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


def rights(config: dict[str, Any], bucket: str) -> dict[str, dict[str, str]]:
    """The policies of each role that `aws.yaml` names: name of the policy to its document."""
    texts = {
        name: (HERE / f"{name}.json").read_text().replace("BUCKET", bucket)
        for name in ("iam_policy", "iam_policy_head")
    }
    head = config["head_node_type"]
    roles = {}
    for kind, node in config["available_node_types"].items():
        wanted = texts if kind == head else {"iam_policy": texts["iam_policy"]}
        roles[node["node_config"]["IamInstanceProfile"]["Name"]] = wanted
    return roles


def checked_range(ssh_from: str) -> str:
    """The addresses that may use ssh; refuses ranges that are not somebody's own.

    Raises:
        ValueError: If it is no IPv4 range, or wider than /16.
    """
    allowed = (
        "allowed is an IPv4 range from /16 to /32; give your own address, like 198.51.100.7/32"
    )
    try:
        network = ipaddress.IPv4Network(ssh_from)
    except ValueError as error:
        raise ValueError(f"--ssh-from got {ssh_from!r}: {error}; {allowed}") from None
    if network.prefixlen < 16:
        raise ValueError(
            f"--ssh-from got {ssh_from!r}, which is {network.num_addresses} addresses; {allowed}"
        )
    return str(network)


def make_bucket(s3: Any, bucket: str, region: str) -> None:
    """A private bucket in the cluster's region; unfinished uploads are dropped after a week.

    Raises:
        ValueError: If the bucket lies in another region.
    """
    try:
        found = s3.head_bucket(Bucket=bucket)["BucketRegion"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "404":
            raise
    else:
        if found != region:
            raise ValueError(
                f"bucket {bucket} lies in {found}, the cluster in {region}; allowed is one region "
                "for both, since traffic between them is billed. Change region in aws.yaml or "
                "take another bucket."
            )
        return
    # us-east-1 is the only region that must not be named
    place = {"LocationConstraint": region}
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": place}
    s3.create_bucket(Bucket=bucket, **where)
    closed = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    s3.put_public_access_block(
        Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(closed, True)
    )
    rule = {
        "ID": "unfinished-uploads-are-billed-too",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    }
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})


def make_role(iam: Any, role: str, policies: dict[str, str]) -> None:
    """A role for machines and the instance profile of the same name; its rights are replaced."""
    trust = json.dumps(ASSUMED_BY_EC2)
    try:
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust)
    except iam.exceptions.EntityAlreadyExistsException:
        iam.update_assume_role_policy(RoleName=role, PolicyDocument=trust)
    for name, document in policies.items():
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=document)
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_instance_profile(InstanceProfileName=role)
    with suppress(iam.exceptions.LimitExceededException):  # a profile holds one role: it has it
        iam.add_role_to_instance_profile(InstanceProfileName=role, RoleName=role)


def make_spot_role(iam: Any) -> None:
    """What an account needs before its first spot machine; the head may not make it itself."""
    service = "spot.amazonaws.com"
    if not iam.list_roles(PathPrefix=f"/aws-service-role/{service}/")["Roles"]:
        iam.create_service_linked_role(AWSServiceName=service)


def find_group(ec2: Any, name: str) -> dict[str, Any] | None:
    """The security group of that name in the default network."""
    networks = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    if not networks:
        raise ValueError("this region has no default VPC; make one: aws ec2 create-default-vpc")
    found = ec2.describe_security_groups(
        Filters=[
            {"Name": "group-name", "Values": [name]},
            {"Name": "vpc-id", "Values": [networks[0]["VpcId"]]},
        ]
    )["SecurityGroups"]
    return found[0] if found else None


def make_group(ec2: Any, name: str, ssh_from: str) -> str:
    """A group whose machines reach one another, and nobody else but ssh from `ssh_from`."""
    group = find_group(ec2, name)
    if group:
        identity = group["GroupId"]
        if group["IpPermissions"]:
            ec2.revoke_security_group_ingress(
                GroupId=identity, IpPermissions=group["IpPermissions"]
            )
    else:
        identity = ec2.create_security_group(
            GroupName=name, Description="raykd: ssh from one place, all among its own machines"
        )["GroupId"]
    ec2.authorize_security_group_ingress(
        GroupId=identity,
        IpPermissions=[
            {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": identity}]},
            {
                "IpProtocol": "tcp",
                "FromPort": 22,
                "ToPort": 22,
                "IpRanges": [{"CidrIp": ssh_from}],
            },
        ],
    )
    return str(identity)


def delete(iam: Any, ec2: Any, roles: dict[str, dict[str, str]], group_name: str) -> None:
    """Takes away roles, profiles and the security group; not the bucket."""
    gone = iam.exceptions.NoSuchEntityException
    for role, policies in roles.items():
        with suppress(gone):
            iam.remove_role_from_instance_profile(InstanceProfileName=role, RoleName=role)
        with suppress(gone):
            iam.delete_instance_profile(InstanceProfileName=role)
        for name in policies:
            with suppress(gone):
                iam.delete_role_policy(RoleName=role, PolicyName=name)
        with suppress(gone):
            iam.delete_role(RoleName=role)
    group = find_group(ec2, group_name)
    if group:
        ec2.delete_security_group(GroupId=group["GroupId"])


def main(
    bucket: Annotated[str, typer.Option(help="Of the results; made if it does not exist.")],
    ssh_from: Annotated[str, typer.Option(help="Your own address, like 198.51.100.7/32.")] = "",
    take_away: Annotated[bool, typer.Option("--delete", help="All but the bucket.")] = False,
) -> None:
    """Makes an AWS account ready for cluster/aws.yaml, or takes that away again."""
    config = yaml.safe_load((HERE / "aws.yaml").read_text())
    name, region = config["cluster_name"], config["provider"]["region"]
    roles = rights(config, bucket)
    iam, ec2 = boto3.client("iam"), boto3.client("ec2", region_name=region)
    if take_away:
        delete(iam, ec2, roles, name)
        typer.echo(f"roles and security group are gone; s3://{bucket} is still there, and billed")
        return
    try:
        allowed = checked_range(ssh_from)
        make_bucket(boto3.client("s3", region_name=region), bucket, region)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    for role, policies in roles.items():
        make_role(iam, role, policies)
    make_spot_role(iam)
    group = make_group(ec2, name, allowed)
    typer.echo(f"write this security group into cluster/aws.yaml: {group}")


if __name__ == "__main__":
    typer.run(main)
