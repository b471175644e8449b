"""Shape and type checks of every function in raykd, and S3 servers for whoever asks for one."""

import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import jaxtyping
import pytest

if TYPE_CHECKING:
    from raykd.study import Study

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["RAY_ADDRESS"] = "local"  # a test's clusters are no other test's, which runs beside it
os.environ["RAY_AUTH_MODE"] = "disabled"  # else a local Ray writes a token that later ones enforce
os.environ["RAY_prestart_worker_first_driver"] = "0"  # noqa: SIM112 - Tune's actors can't use those

sys.path.insert(0, str(Path(__file__).parent / "study"))  # `runs`, `machines` and others

jaxtyping.install_import_hook("raykd", "beartype.beartype")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files of slow tests first: the last that a process gets ought to be a short one."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


KEY, SECRET = "raykd-test-key", "raykd-test-secret-5f1d9c"
BUCKET = "raykd-test"


@dataclass(frozen=True)
class S3Server:
    """A running server with one bucket.

    `env` is what a process needs to reach it; pass it on to subprocesses, or set it for a test.
    """

    uri: str
    env: dict[str, str]
    pid: int


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    """moto's S3 over HTTP, in a process of its own: in memory, honours conditional PUT."""

    def command(port: int) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]

    yield from _serve(command)


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """`rclone serve s3`: real files, checks signatures, ignores conditional PUT."""
    rclone = Path(sys.executable).with_name("rclone")
    root = tmp_path_factory.mktemp("rclone")

    def command(port: int) -> list[str]:
        address, keys = f"127.0.0.1:{port}", f"{KEY},{SECRET}"
        return [str(rclone), "serve", "s3", "--addr", address, "--auth-key", keys, str(root)]

    yield from _serve(command)
    shutil.rmtree(root)


@pytest.fixture
def s3_env(monkeypatch: pytest.MonkeyPatch) -> Callable[[S3Server], None]:
    """Points this process's AWS environment to a server until the test ends."""

    def use(server: S3Server) -> None:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)

    return use


@pytest.fixture
def moto_s3(moto_server: S3Server, s3_env: Callable[[S3Server], None]) -> str:
    """A URI on moto that nothing is stored below; the AWS environment is set."""
    s3_env(moto_server)
    return f"{moto_server.uri}/{uuid.uuid4().hex}"


@pytest.fixture
def rclone_s3(rclone_server: S3Server, s3_env: Callable[[S3Server], None]) -> str:
    """A URI on rclone that nothing is stored below; the AWS environment is set."""
    s3_env(rclone_server)
    return f"{rclone_server.uri}/{uuid.uuid4().hex}"


def _serve(command: Callable[[int], list[str]]) -> Iterator[S3Server]:
    """Starts a server on a free port, makes the bucket, and stops the process at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    server = subprocess.Popen(command(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(server, port)
        _make_bucket(env)
        yield S3Server(f"s3://{BUCKET}", env, server.pid)
    finally:
        server.terminate()
        server.wait()


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(600):
        assert server.poll() is None, f"{server.args} ended with {server.returncode}"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"{server.args} does not listen on port {port} after a minute")


def _make_bucket(env: dict[str, str]) -> None:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        region_name=env["AWS_REGION"],
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )
    client.create_bucket(Bucket=BUCKET)


@pytest.fixture
def study() -> Callable[..., "Study"]:
    """Makes a small study, any of whose fields can be changed."""
    from optuna.distributions import FloatDistribution

    from raykd.data.synthetic import Synthetic
    from raykd.methods.itrd import ITRD
    from raykd.methods.kd import KD
    from raykd.methods.vanilla import Vanilla
    from raykd.models.resnet import CifarResNet
    from raykd.study import Study

    small = Study(
        name="small",
        data=partial(Synthetic, classes=4, shape=(1, 8, 8), samples=80, tests=16),
        teacher=partial(CifarResNet, 1, (8, 8, 8, 8)),
        student=partial(CifarResNet, 1, (4, 4, 4, 4)),
        method=ITRD,
        space={
            "alpha": FloatDistribution(1.0, 2.0),
            "lr": FloatDistribution(1e-3, 0.5, log=True),
        },
        references=(Vanilla, KD),
        trials=5,
        cohort=4,
        epochs=3,
        batch_size=16,
    )
    return partial(replace, small)
