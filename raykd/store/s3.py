"""Stores objects in a bucket of S3 or of a server with the same protocol.

Only botocore, on which boto3 is built, talks to the server. Credentials (profiles, single sign-on,
roles that renew themselves), region, endpoint, proxy and certificates are therefore resolved in one
place and by the standard rules.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from raykd.store.address import has_credentials
from raykd.store.errors import MissingObjectError, StoreError, UnavailableError
from raykd.store.s3_answers import CREDENTIALS, MISSING, refused, unsent

Paths = list[str]


class Bucket:
    """A bucket; its clients are created on first use, and anew after refused credentials.

    Args:
        name: Name of the bucket.
    """

    threads = 16  # number of simultaneous reads, and size of a client's connection pool

    def __init__(self, name: str) -> None:
        self.name = name
        self._session: Any = None
        self._clients: dict[bool, Any] = {}  # by the argument `quick` of `_connected`
        self._endpoint = "AWS S3"
        self._pid, self._lock = os.getpid(), Lock()

    def read(self, key: str) -> bytes:
        """Returns an object's bytes with one request."""
        with self._asked("read", key) as client:
            body: bytes = client.get_object(Bucket=self.name, Key=key)["Body"].read()
            return body

    def write(self, key: str, data: bytes) -> None:
        """Writes an object with one request."""
        with self._asked("write", key) as client:
            client.put_object(Bucket=self.name, Key=key, Body=data)

    def create(self, key: str, data: bytes) -> bool:
        """Creates an object; returns False if it exists already.

        Some servers ignore the condition of a PUT, so the object is looked for first. A PUT whose
        answer was lost is repeated and then refused because of the object that it created itself;
        an existing object that equals `data` therefore counts as written.
        """
        from botocore.exceptions import ClientError

        if self._there(key):
            return False
        with self._asked("write", key) as client:
            try:
                client.put_object(Bucket=self.name, Key=key, Body=data, IfNoneMatch="*")
            except ClientError as error:
                if _code(error) == "ConditionalRequestConflict":  # another PUT is in progress
                    return self.create(key, data)
                if _code(error) not in ("412", "PreconditionFailed"):
                    raise
                return self.read(key) == data
            return True

    def read_part(self, key: str, first: int, count: int) -> bytes:
        """Returns up to `count` bytes of an object from byte `first` on; fewer if it ends."""
        with self._asked("read", key) as client:
            answer = client.get_object(
                Bucket=self.name, Key=key, Range=f"bytes={first}-{first + count - 1}"
            )
            data: bytes = answer["Body"].read()
        # a server that does not support ranges sends the whole object
        return data if answer.get("ContentRange") else data[first : first + count]

    def exists(self, key: str) -> bool:
        """Returns True if the object exists.

        The answer to a HEAD request has no body and does not tell a missing object from a missing
        bucket, so an object that seems to be missing is requested once more with GET.
        """
        if self._there(key):
            return True
        try:
            with self._asked("read", key) as client:
                client.get_object(Bucket=self.name, Key=key)["Body"].close()
        except MissingObjectError:
            return False
        return True

    def sizes(self, prefix: str) -> dict[str, int]:
        """Returns the size in bytes of each object below `prefix` by key; skips folder markers."""
        return {
            entry["Key"]: entry["Size"]
            for page in self._pages(prefix)
            for entry in page.get("Contents", [])
            if not entry["Key"].endswith("/")
        }

    def folders(self, prefix: str) -> Paths:
        """Returns the names of the folders directly below `prefix`."""
        return [
            entry["Prefix"].rstrip("/").rpartition("/")[2]
            for page in self._pages(prefix, Delimiter="/")
            for entry in page.get("CommonPrefixes", [])
        ]

    def delete(self, keys: Paths) -> None:
        """Deletes objects, up to 1000 (the limit of S3) per request."""
        for start in range(0, len(keys), 1000):
            batch = [{"Key": key} for key in keys[start : start + 1000]]
            with self._asked("delete", keys[start]) as client:
                answer = client.delete_objects(
                    Bucket=self.name, Delete={"Objects": batch, "Quiet": True}
                )
            if errors := answer.get("Errors"):
                key, code = errors[0].get("Key", keys[start]), errors[0].get("Code", "unknown")
                raise UnavailableError(self._refused(code, "delete", key))

    def check(self, prefix: str, *, write: bool) -> None:
        """Tests access: lists, compares regions and, with `write`, writes and deletes a probe."""
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
        """Returns the bucket's region; "" if the server does not name it."""
        from botocore.exceptions import ClientError

        try:
            answer = client.head_bucket(Bucket=self.name)
        except ClientError as error:  # a policy may allow the prefix but not the bucket itself
            answer = error.response
        return str(answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", ""))

    def _there(self, key: str) -> bool:
        try:
            with self._asked("read", key) as client:
                client.head_object(Bucket=self.name, Key=key)
        except MissingObjectError:
            return False
        return True

    def _pages(self, prefix: str, **options: Any) -> Iterator[dict[str, Any]]:
        """Yields the pages of a complete listing; an incomplete one raises an error.

        botocore's own paginator takes a page without a continuation token for the last one, and
        an answer that is not a listing for an empty listing.
        """
        while True:
            with self._asked("list", prefix) as client:
                page: dict[str, Any] = client.list_objects_v2(
                    Bucket=self.name, Prefix=f"{prefix}/" if prefix else "", **options
                )
            found = len(page.get("Contents", [])) + len(page.get("CommonPrefixes", []))
            token = page.get("NextContinuationToken")
            if (
                "IsTruncated" not in page
                or page.get("KeyCount", found) > found
                or (page["IsTruncated"] and not token)
                or (token and token == options.get("ContinuationToken"))
            ):
                raise UnavailableError(self._refused("a listing that is not whole", "list", prefix))
            yield page
            if not page["IsTruncated"]:
                return
            options["ContinuationToken"] = token

    @contextmanager
    def _asked(self, action: str, key: str, *, quick: bool = False) -> Iterator[Any]:
        """Yields a client; converts its errors into one sentence without secrets."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            yield self._connected(quick=quick)
        except ClientError as error:
            code = _code(error)
            if code in CREDENTIALS:
                self._forget()  # the next request looks for renewed credentials
            if code in MISSING and action == "read":
                raise MissingObjectError(f"s3://{self.name}/{key} does not exist") from error
            raise UnavailableError(self._refused(code, action, key)) from error
        except BotoCoreError as error:
            self._forget()
            raise UnavailableError(unsent(error, self.name, self._endpoint)) from error
        except ResponseParserError as error:
            raise UnavailableError(self._refused("something damaged", action, key)) from error

    def _refused(self, code: str, action: str, key: str) -> str:
        return refused(code, action, f"s3://{self.name}/{key}", self._endpoint)

    def _forget(self) -> None:
        self._session = None
        self._clients.clear()

    def _connected(self, *, quick: bool) -> Any:
        """Returns a client, which is created if necessary; a quick one gives up within seconds."""
        if self._pid != os.getpid():  # a forked process must not share its parent's connections
            self._pid, self._lock = os.getpid(), Lock()
            self._forget()
        with self._lock:
            if quick not in self._clients:
                self._session = self._session or _session()
                self._clients[quick] = _client(self._session, quick=quick)
                self._endpoint = _address(self._clients[quick].meta.endpoint_url)
            return self._clients[quick]


@lru_cache(maxsize=1)
def _loader() -> Any:
    """Returns a shared loader of botocore's service models; parsing that of S3 takes 0.1 s."""
    from botocore.loaders import create_loader

    return create_loader()


def _session() -> Any:
    """Returns a botocore session, which resolves and renews credentials, region and endpoint."""
    from botocore.session import get_session

    session = get_session()
    session.register_component("data_loader", _loader())
    return session


def _client(session: Any, *, quick: bool) -> Any:
    """Creates an S3 client from the current environment variables and AWS configuration."""
    # rclone and other servers support neither chunked checksums nor checksums of ranges. The
    # variables also apply to pyarrow (Ray's storage) in this process and its children.
    os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    os.environ.setdefault("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
    from botocore.config import Config

    config = Config(
        connect_timeout=3 if quick else 10,
        read_timeout=5 if quick else 60,
        # "standard" waits up to 20 s between attempts, so ten attempts outlast a minute of 503
        retries={"mode": "standard", "total_max_attempts": 2 if quick else 10},
        max_pool_connections=Bucket.threads,
    )
    try:
        client = session.create_client("s3", config=config)
    except ValueError:  # its message quotes the address, which may contain a password
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
    """Returns a URL's scheme, host and port, without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))
