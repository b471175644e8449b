"""The roles may do what a cluster needs, and nothing else."""

import json
from pathlib import Path

CLUSTER = Path(__file__).parents[2] / "cluster"
TAGGED = {"aws:RequestTag/ray-cluster-name", "aws:ResourceTag/ray-cluster-name"}


def statements(name):
    document = json.loads((CLUSTER / name).read_text())
    assert document["Version"] == "2012-10-17"
    return document["Statement"]


def listed(value):
    return [value] if isinstance(value, str) else value


def test_workers_may_use_one_prefix_of_one_bucket():
    actions = set()
    for statement in statements("iam_policy.json"):
        assert statement["Effect"] == "Allow"
        assert {"NotAction", "NotResource", "NotPrincipal"}.isdisjoint(statement)
        for action in listed(statement["Action"]):
            actions.add(action)
            if action == "s3:ListBucket":
                assert statement["Resource"] == "arn:aws:s3:::BUCKET"
                # IfExists: a HEAD of the bucket names no prefix, and pyarrow makes one before it
                # creates a folder.
                assert statement["Condition"] == {
                    "StringLikeIfExists": {"s3:prefix": ["raykd", "raykd/*"]}
                }
            else:
                assert set(statement["Resource"]) == {
                    "arn:aws:s3:::BUCKET/raykd",
                    "arn:aws:s3:::BUCKET/raykd/*",
                }
    assert actions == {
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        "s3:ListBucket",
    }


def test_the_head_may_launch_and_end_the_machines_of_its_cluster():
    allowed = {}
    for statement in statements("iam_policy_head.json"):
        assert statement["Effect"] == "Allow"
        for action in listed(statement["Action"]):
            assert "*" not in action
            allowed.setdefault(action, []).append(statement)
    assert allowed.keys() == {
        "ec2:DescribeInstances",
        "ec2:RunInstances",
        "ec2:CreateTags",
        "ec2:TerminateInstances",
        "iam:PassRole",
        "ssm:GetParameters",
    }
    for action, rights in allowed.items():
        for statement in rights:
            resources = listed(statement["Resource"])
            if action != "ec2:DescribeInstances":  # it knows no narrower resource
                assert "*" not in resources
            if action in ("ec2:TerminateInstances", "ec2:RunInstances") and any(
                ":instance/" in resource for resource in resources
            ):
                assert TAGGED & statement["Condition"]["StringEquals"].keys()
    (pass_role,) = allowed["iam:PassRole"]
    assert pass_role["Resource"] == "arn:aws:iam::*:role/raykd-worker"
    assert pass_role["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
