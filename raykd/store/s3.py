"""Objects in a bucket of S3 or of a server that speaks its protocol.

botocore, which boto3 is built on, alone talks to the server, so that credentials (profiles, single
sign-on, roles that renew themselves), region, endpoint, proxy and certificates are resolved once
and by the standard rules.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

from raykd.store.address import has_credentials
from raykd.store.errors import MissingObjectError, StoreError, UnavailableError

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError

Paths = list[str]  # `list` means the method within the class below

_MISSING = {"404", "NoSuchKey", "NotFound"}
_CREDENTIALS = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
}
_REGION = {
    "301",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
}


class Bucket:
    """One bucket; clients are made on first use and again after the server refused their keys."""

    threads = 16

    def __init__(self, name: str) -> None:
        self.name = name
        self._session: Any = None
        self._clients: dict[bool, Any] = {}  # by whether they are quick to give up
        self._endpoint = "AWS S3"
        self._lock = Lock()

    def read(self, key: str) -> bytes:
        """Returns an object's bytes, in one request."""
        with self._asked("read", key) as client:
            body: bytes = client.get_object(Bucket=self.name, Key=key)["Body"].read()
            return body

    def write(self, key: str, data: bytes) -> None:
        """Puts an object, in one request."""
        with self._asked("write", key) as client:
            client.put_object(Bucket=self.name, Key=key, Body=data)

    def create(self, key: str, data: bytes) -> bool:
        """Puts an object unless there is one; asks first, since some servers ignore the condition.

        A put whose answer was lost is sent again and then refused by its own object, so bytes
        that turn out to be `data` count as written.
        """
        from botocore.exceptions import ClientError

        if self.exists(key):
            return False
        with self._asked("write", key) as client:
            try:
                client.put_object(Bucket=self.name, Key=key, Body=data, IfNoneMatch="*")
            except ClientError as error:
                if _code(error) == "ConditionalRequestConflict":  # another is writing just now
                    return self.create(key, data)
                if _code(error) not in ("412", "PreconditionFailed"):
                    raise
                return self.read(key) == data
            return True

    def exists(self, key: str) -> bool:
        """Says whether there is an object."""
        try:
            with self._asked("read", key) as client:
                client.head_object(Bucket=self.name, Key=key)
        except MissingObjectError:
            return False
        return True

    def list(self, prefix: str) -> Paths:
        """Returns the keys below `prefix`, without the markers that some tools make for folders."""
        return [
            entry["Key"]
            for page in self._pages(prefix)
            for entry in page.get("Contents", [])
            if not entry["Key"].endswith("/")
        ]

    def folders(self, prefix: str) -> Paths:
        """Returns the names of the folders directly below `prefix`."""
        return [
            entry["Prefix"].rstrip("/").rpartition("/")[2]
            for page in self._pages(prefix, Delimiter="/")
            for entry in page.get("CommonPrefixes", [])
        ]

    def delete(self, keys: Paths) -> None:
        """Deletes objects, a thousand a request."""
        for start in range(0, len(keys), 1000):
            batch = [{"Key": key} for key in keys[start : start + 1000]]
            with self._asked("delete", keys[start]) as client:
                answer = client.delete_objects(
                    Bucket=self.name, Delete={"Objects": batch, "Quiet": True}
                )
            if errors := answer.get("Errors"):
                key, code = errors[0].get("Key", keys[start]), errors[0].get("Code", "unknown")
                raise UnavailableError(self._sentence(code, "delete", key))

    def check(self, prefix: str, *, write: bool) -> None:
        """Lists, compares the region, and with `write` puts and deletes a probe."""
        with self._asked("list", prefix, quick=True) as client:
            client.list_objects_v2(
                Bucket=self.name, Prefix=f"{prefix}/" if prefix else "", MaxKeys=1
            )
            here, there = client.meta.region_name, self._region(client)
            if there and there != here:
                raise StoreError(
                    f"the bucket {self.name!r} is in the region {there}, but the AWS environment"
                    f" says {here}; set AWS_REGION={there}"
                )
        if write:
            key = f"{prefix}/.raykd-check-{uuid4().hex}".lstrip("/")
            with self._asked("write", key, quick=True) as client:
                client.put_object(Bucket=self.name, Key=key, Body=b"raykd")
            with self._asked("delete", key, quick=True) as client:
                client.delete_object(Bucket=self.name, Key=key)

    def _region(self, client: Any) -> str:
        """Returns the bucket's region, or "" where the server does not say."""
        from botocore.exceptions import ClientError

        try:
            answer = client.head_bucket(Bucket=self.name)
        except ClientError as error:  # a policy may allow the prefix and not the bucket itself
            answer = error.response
        return str(answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", ""))

    def _pages(self, prefix: str, **options: str) -> Iterator[dict[str, Any]]:
        with self._asked("list", prefix) as client:
            yield from client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=f"{prefix}/" if prefix else "", **options
            )

    @contextmanager
    def _asked(self, action: str, key: str, *, quick: bool = False) -> Iterator[Any]:
        """Yields a client; turns its errors into one sentence without anything secret."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield self._connected(quick=quick)
        except ClientError as error:
            code = _code(error)
            if code in _CREDENTIALS:
                self._forget()  # the next request looks for renewed credentials
            if code in _MISSING and action == "read":
                raise MissingObjectError(f"s3://{self.name}/{key} does not exist") from error
            raise UnavailableError(self._sentence(code, action, key)) from error
        except BotoCoreError as error:
            self._forget()
            raise UnavailableError(self._unsent(error)) from error

    def _forget(self) -> None:
        self._session = None
        self._clients.clear()

    def _connected(self, *, quick: bool) -> Any:
        """Returns the client; a quick one gives up within seconds."""
        with self._lock:
            if quick not in self._clients:
                self._session = self._session or _session()
                self._clients[quick] = _client(self._session, quick=quick)
                self._endpoint = _address(self._clients[quick].meta.endpoint_url)
            return self._clients[quick]

    def _sentence(self, code: str, action: str, key: str) -> str:
        """Says what the server's error code means here."""
        place = f"s3://{self.name}/{key}"
        if code == "NoSuchBucket" or (code in _MISSING and action != "read"):
            return f"there is no bucket {self.name!r} at {self._endpoint}; create it or use another"
        if code in _CREDENTIALS:
            return (
                f"{self._endpoint} refuses the AWS credentials ({code}); correct or renew"
                " AWS_PROFILE or AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
            )
        if code in _REGION:
            return f"the bucket {self.name!r} is in another region ({code}); set AWS_REGION to it"
        if code in ("AccessDenied", "403", "Forbidden", "AllAccessDisabled"):
            return (
                f"the AWS credentials have no permission to {action} {place} ({code}); a store"
                " needs s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject there"
            )
        if code == "RequestTimeTooSkewed":
            return f"this machine's clock differs from that of {self._endpoint}; set the clock"
        return f"{self._endpoint} could not {action} {place}: it answered {code}; try again later"

    def _unsent(self, error: "BotoCoreError") -> str:
        """Says why a request never got an answer."""
        from botocore import exceptions as e

        kind = type(error).__name__
        if isinstance(error, e.ConnectionError | e.HTTPClientError | e.IncompleteReadError):
            return (
                f"the S3 endpoint {self._endpoint} cannot be reached ({kind}); check"
                " AWS_ENDPOINT_URL and the network"
            )
        if isinstance(error, e.ProfileNotFound):
            profile = os.environ.get("AWS_PROFILE")
            return f"the AWS profile {profile!r} does not exist; correct AWS_PROFILE"
        return (
            f"no usable AWS credentials or configuration for s3://{self.name} ({kind}); set"
            " AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role is"
            " attached"
        )


@lru_cache(maxsize=1)
def _loader() -> Any:
    """Returns botocore's reader of its models of services; parsing that of S3 takes 0.1 s."""
    from botocore.loaders import create_loader

    return create_loader()


def _session() -> Any:
    """Returns a session, which finds credentials, region and endpoint, and renews them."""
    from botocore.session import get_session

    session = get_session()
    session.register_component("data_loader", _loader())
    return session


def _client(session: Any, *, quick: bool) -> Any:
    """Makes a client from the environment as it is now."""
    # rclone and other servers know neither chunked checksums nor checksums of ranges; the
    # variables serve pyarrow (Ray's storage) in this process and its children as well.
    os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    os.environ.setdefault("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
    from botocore.config import Config

    config = Config(
        connect_timeout=3 if quick else 10,
        read_timeout=5 if quick else 60,
        # "standard" waits up to 20 s between attempts: ten outlast a minute of 503
        retries={"mode": "standard", "total_max_attempts": 2 if quick else 10},
        max_pool_connections=Bucket.threads,
    )
    try:
        client = session.create_client("s3", config=config)
    except ValueError:  # its message has the address, and that may have a password
        raise StoreError(
            "AWS_ENDPOINT_URL is not an address; use http://host:port or https://host"
        ) from None
    if has_credentials(client.meta.endpoint_url):
        raise StoreError(
            "AWS_ENDPOINT_URL holds a user or a password, which S3 does not ask for; use"
            " http://host:port or https://host, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return client


def _address(url: str) -> str:
    """Returns a URL's scheme, host and port, without a user or password in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))
