"""The cluster files, read; and an AWS of our own on a loopback port."""

import importlib.util
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.error import URLError

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def read(name):
    return yaml.safe_load((ROOT / "cluster" / name).read_text())


@pytest.fixture
def aws():
    return read("aws.yaml")


@pytest.fixture
def gcp():
    return read("gcp.yaml")


@pytest.fixture
def on_premise():
    return read("on_premise.yaml")


@pytest.fixture
def kuberay():
    return {
        document["kind"]: document
        for document in yaml.safe_load_all((ROOT / "cluster/kuberay.yaml").read_text())
    }


@pytest.fixture(scope="session")
def aws_account():
    """cluster/aws_account.py as a module."""
    spec = importlib.util.spec_from_file_location("aws_account", ROOT / "cluster/aws_account.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def moto_url():
    """EC2, IAM and S3 in a process of their own; its state ends with the module."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            assert server.poll() is None, "the moto server ended"
            try:
                urllib.request.urlopen(f"{url}/moto-api/", timeout=10).close()
                break
            except (URLError, ConnectionError):
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def on_moto(moto_url, tmp_path_factory):
    """Every boto3 client made here talks to moto; keys go to a home of their own."""
    with pytest.MonkeyPatch.context() as environment:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE"):
            environment.delenv(name, raising=False)
        environment.setenv("AWS_ACCESS_KEY_ID", "testing")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        environment.setenv("AWS_DEFAULT_REGION", "us-west-2")
        environment.setenv("AWS_ENDPOINT_URL", moto_url)
        environment.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield
