"""Checks of Ray's token authentication: that a cluster accepts this machine."""

import os
from typing import Any

import grpc
from ray._private.authentication.authentication_token_setup import (
    maybe_enable_token_auth_if_token_available as use_the_token_of_this_machine,
)
from ray._private.authentication.authentication_utils import is_token_auth_enabled
from ray._private.grpc_utils import init_grpc_channel
from ray.core.generated import gcs_service_pb2
from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub

MESSAGES: Any = gcs_service_pb2  # made by protobuf, which mypy does not look into
SECONDS = 10.0
"""Timeout of the request to the cluster, in seconds."""
WHAT_TO_SET = (
    "set RAY_AUTH_MODE=token, and put the cluster's token into RAY_AUTH_TOKEN or ~/.ray/auth_token"
    " (`ray get-auth-token` on the head prints it)"
)


def check_token(address: str | None, *, named: bool) -> None:
    """Checks that a cluster accepts this machine's token, by a request for the cluster's id.

    `ray.init` would try for 20 seconds. A cluster that was started while ~/.ray/auth_token existed
    asks for that token, and the first local study writes this file. `ray.init` uses the file by
    itself only if neither RAY_ADDRESS nor an option names the cluster.

    Args:
        address: Address of the cluster, `host:port`. Nothing is checked if it is None or has a
            scheme.
        named: True if RAY_ADDRESS or an option names the cluster.

    Raises:
        PermissionError: The cluster refuses this machine; the message says what to set.
    """
    if address is None or "://" in address:
        return
    if not named:
        use_the_token_of_this_machine(warn_if_disabled=False)
    with init_grpc_channel(address) as channel:
        request = MESSAGES.GetClusterIdRequest()
        try:
            NodeInfoGcsServiceStub(channel).GetClusterId(request, timeout=SECONDS)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAUTHENTICATED:
                return  # ray.init says better what is wrong
            mode = os.environ.get("RAY_AUTH_MODE", "not set")
            sent = "another one" if is_token_auth_enabled() else f"none (RAY_AUTH_MODE is {mode})"
            raise PermissionError(
                f"the cluster at {address} asks for its token, and this machine has {sent};"
                f" {WHAT_TO_SET}"
            ) from error
