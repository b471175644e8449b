import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import boto3
import pytest

from raykd.store import Folder, StoreError, UnavailableError

LISTING = b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"


@pytest.fixture
def canned(monkeypatch, moto_s3):
    """A server that answers what `state.answer(method, headers)` says: a status and a code."""
    state = SimpleNamespace(answer=lambda method, headers: (200, None), listing=LISTING)

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, code = state.answer(self.command, self.headers)
            body = f"<Error><Code>{code}</Code></Error>".encode() if code else state.listing
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = answer  # noqa: N815

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "NoSuchBucket", "there is no bucket 'bucket' at http://127.0.0.1:"),
        (403, "InvalidAccessKeyId", "refuses the AWS credentials"),
        (403, "SignatureDoesNotMatch", "refuses the AWS credentials"),
        (400, "ExpiredToken", "renew AWS_PROFILE or AWS_ACCESS_KEY_ID"),
        (403, "AccessDenied", "no permission to list s3://bucket/x .*needs s3:ListBucket"),
        (403, "RequestTimeTooSkewed", "set the clock"),
        (400, "AuthorizationHeaderMalformed", "set AWS_REGION"),
        (503, "SlowDown", "it answered SlowDown; try again later"),
    ],
)
def test_what_the_server_answers_becomes_one_sentence(canned, status, code, message):
    canned.answer = lambda method, headers: (status, code)
    with pytest.raises(StoreError, match=message) as caught:
        Folder("s3://bucket/x").check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "listing",
    [
        b"",
        LISTING,  # does not say that it ends here
        b"<Error><Code>InternalError</Code></Error>",
        b"<ListBucketResult><IsTruncated>true</IsTruncated><KeyCount>0</KeyCount>"
        b"</ListBucketResult>",
        b"<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>1</KeyCount>"
        b"</ListBucketResult>",
        b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>x/a</Key><Si",
        b"<html>Please log in</html>",
        b"busy",
    ],
)
def test_a_listing_that_is_not_whole_raises(canned, monkeypatch, listing):
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
    canned.listing = listing
    for ask in (Folder.list, Folder.folders, Folder.delete_all):
        with pytest.raises(UnavailableError, match="could not list s3://bucket/x"):
            ask(Folder("s3://bucket/x"))


@pytest.mark.parametrize("code", ["NoSuchKey", "NoSuchBucket", "AccessDenied"])
def test_a_listing_that_is_refused_raises(canned, code):
    canned.answer = lambda method, headers: (404, code)
    with pytest.raises(UnavailableError):
        Folder("s3://bucket/x").list()


def test_a_listing_of_many_pages(moto_s3):
    folder = Folder(moto_s3)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: folder.write(f"{i:04d}", b""), range(1003)))
    assert len(folder.list()) == 1003


def test_no_write_permission(canned):
    canned.answer = lambda method, headers: (
        (403, "AccessDenied") if method == "PUT" else (200, None)
    )
    Folder("s3://bucket/x").check(write=False)
    with pytest.raises(StoreError, match="no permission to write s3://bucket/x/"):
        Folder("s3://bucket/x").check()


def test_renewed_credentials_are_found(canned, monkeypatch):
    def answer(method, headers):
        return (200, None) if "renewed" in headers["Authorization"] else (400, "ExpiredToken")

    canned.answer = answer
    folder = Folder("s3://bucket/x")
    with pytest.raises(UnavailableError, match="credentials"):
        folder.write("a", b"x")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "renewed")
    assert folder.write("a", b"x")


def test_a_server_in_trouble_is_asked_again(canned):
    answers = [(503, "SlowDown"), (500, "InternalError")]
    canned.answer = lambda method, headers: answers.pop() if answers else (200, None)
    assert Folder("s3://bucket/x").write("a", b"x")
    assert answers == []


def test_a_put_whose_answer_was_lost_counts_as_written(canned):
    """The second attempt of a conditional PUT is refused by the object of the first."""
    answers = iter([(404, "NoSuchKey"), (412, "PreconditionFailed"), (200, None)])
    canned.answer = lambda method, headers: next(answers)
    assert Folder("s3://bucket/x").write("a", LISTING, if_absent=True)


def test_a_write_that_meets_another_is_tried_again(canned):
    conflict = (409, "ConditionalRequestConflict")
    answers = iter([(404, "NoSuchKey"), conflict, (404, "NoSuchKey"), (200, None)])
    canned.answer = lambda method, headers: next(answers)
    assert Folder("s3://bucket/x").write("a", b"x", if_absent=True)


def test_what_cannot_be_deleted_is_said(canned, moto_s3):
    canned.answer = lambda method, headers: (403, "AccessDenied")
    with pytest.raises(StoreError, match="no permission to delete s3://bucket/x/a"):
        Folder("s3://bucket/x").delete("a")


def test_unreachable_endpoint(moto_s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StoreError, match=r"endpoint http://127.0.0.1:1 cannot be reached"):
        Folder(moto_s3).check()


def test_an_endpoint_that_is_no_address(moto_s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost")
    with pytest.raises(StoreError, match="AWS_ENDPOINT_URL is not an address"):
        Folder(moto_s3).check()


@pytest.mark.parametrize("password", ["hidden", "h/idden", "%40hidden"])
def test_an_endpoint_with_a_password(moto_s3, monkeypatch, password):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:{password}@127.0.0.1:1")
    with pytest.raises(StoreError, match="AWS_ENDPOINT_URL") as caught:
        Folder(moto_s3).check()
    assert "idden" not in "".join(traceback.format_exception(caught.value))


def test_missing_bucket(moto_s3):
    with pytest.raises(StoreError, match="there is no bucket 'nothing-here' at http"):
        Folder("s3://nothing-here/x").check()


def test_no_credentials(moto_s3, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match=r"no usable AWS credentials .*set AWS_PROFILE"):
        Folder(moto_s3).check()


def test_unknown_profile(moto_s3, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreError, match="the AWS profile 'nobody' does not exist"):
        Folder(moto_s3).check()


def test_profile_holds_credentials_region_and_endpoint(moto_server, moto_s3, monkeypatch, tmp_path):
    config = tmp_path / "config"
    config.write_text(
        f"[profile mine]\naws_access_key_id = {moto_server.env['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {moto_server.env['AWS_SECRET_ACCESS_KEY']}\n"
        f"region = us-east-1\nendpoint_url = {moto_server.env['AWS_ENDPOINT_URL']}\n"
    )
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "REGION", "DEFAULT_REGION", "ENDPOINT_URL"):
        monkeypatch.delenv(f"AWS_{name}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    folder = Folder(moto_s3)
    folder.check()
    folder.write("a", b"x")
    assert folder.list() == ["a"]


def test_wrong_secret(rclone_server, rclone_s3, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
    with pytest.raises(StoreError, match="credentials") as caught:
        Folder(rclone_s3).check()
    text = "".join(traceback.format_exception(caught.value))
    assert "another-secret" not in text
    assert rclone_server.env["AWS_SECRET_ACCESS_KEY"] not in text


def test_bucket_in_another_region(moto_s3):
    where = {"LocationConstraint": "eu-west-1"}
    boto3.client("s3").create_bucket(Bucket="raykd-europe", CreateBucketConfiguration=where)
    with pytest.raises(StoreError, match=r"in the region eu-west-1, .* set AWS_REGION=eu-west-1"):
        Folder("s3://raykd-europe/x").check()


def test_markers_of_folders_are_not_listed(moto_s3):
    folder = Folder(moto_s3)
    folder.write("a/b", b"x")
    bucket, _, prefix = moto_s3.removeprefix("s3://").partition("/")
    boto3.client("s3").put_object(Bucket=bucket, Key=f"{prefix}/a/", Body=b"")
    assert folder.list() == ["a/b"]
