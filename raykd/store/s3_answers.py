"""Explains errors of an S3 server, and of the connection to it, in one sentence each."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError

MISSING = {"404", "NoSuchKey", "NotFound"}
CREDENTIALS = {
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


def refused(code: str, action: str, place: str, endpoint: str) -> str:
    """Returns a sentence that explains a server's error code and says what to do.

    Args:
        code: Error code of the server, or a description of its answer.
        action: Requested action: `read`, `write`, `list` or `delete`.
        place: Address in S3 of the request, `s3://bucket/key`.
        endpoint: Address of the server.
    """
    if code == "NoSuchBucket" or (code in MISSING and action != "read"):
        bucket = place.removeprefix("s3://").partition("/")[0]
        return f"there is no bucket {bucket!r} at {endpoint}; create it or use another"
    if code in CREDENTIALS:
        return (
            f"{endpoint} refuses the AWS credentials ({code}); correct or renew"
            " AWS_PROFILE or AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
        )
    if code in _REGION:
        return f"the bucket of {place} is in another region ({code}); set AWS_REGION to it"
    if code in ("AccessDenied", "403", "Forbidden", "AllAccessDisabled"):
        return (
            f"the AWS credentials have no permission to {action} {place} ({code}); a store"
            " needs s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject there, and data"
            " and weights the first two"
        )
    if code == "RequestTimeTooSkewed":
        return f"this machine's clock differs from that of {endpoint}; set the clock"
    return f"{endpoint} could not {action} {place}: it answered {code}; try again later"


def unsent(error: "BotoCoreError", bucket: str, endpoint: str) -> str:
    """Returns a sentence that explains why a request got no answer and says what to do."""
    from botocore import exceptions as e

    kind = type(error).__name__
    if isinstance(error, e.ConnectionError | e.HTTPClientError | e.IncompleteReadError):
        return (
            f"the S3 endpoint {endpoint} cannot be reached ({kind}); check"
            " AWS_ENDPOINT_URL and the network"
        )
    if isinstance(error, e.ProfileNotFound):
        profile = os.environ.get("AWS_PROFILE")
        return f"the AWS profile {profile!r} does not exist; correct AWS_PROFILE"
    return (
        f"no usable AWS credentials or configuration for s3://{bucket} ({kind}); set"
        " AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role is"
        " attached"
    )
