"""The cluster files against the checks of `ray up`, and what autoscaler v2 decides on them."""

import jsonschema
import pytest
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil


def checked(config):
    config = prepare_config(config)
    validate_config(config)
    return config


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_a_cloud_file_is_valid(name, request):
    config = checked(request.getfixturevalue(name))
    assert config["head_setup_commands"] == config["setup_commands"]
    assert config["available_node_types"]["head"]["max_workers"] == 0


def test_own_machines_all_join(on_premise):
    config = checked(on_premise)
    machines = len(on_premise["provider"]["worker_ips"])
    assert config["max_workers"] == machines
    (node_type,) = config["available_node_types"].values()
    assert node_type["min_workers"] == machines


@pytest.mark.parametrize("name", ["aws", "gcp", "on_premise"])
def test_an_unknown_key_is_refused(name, request):
    config = request.getfixturevalue(name)
    config["idle_timeout"] = 1
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout"):
        checked(config)


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_a_typo_in_a_node_type_is_refused(name, request):
    config = request.getfixturevalue(name)
    config["available_node_types"]["gpu_spot"]["max_wrokers"] = 1
    with pytest.raises(jsonschema.ValidationError, match="max_wrokers"):
        checked(config)


def launched(config, demand, *, failed=()):
    """What autoscaler v2 launches, from nothing, when cohorts ask for `demand`."""
    nodes = AutoscalingConfig(config, skip_content_hash=True)
    reply = ResourceDemandScheduler().schedule(
        SchedulingRequest(
            disable_launch_config_check=True,
            node_type_configs={
                kind: node
                for kind, node in nodes.get_node_type_configs().items()
                if kind != config["head_node_type"]
            },
            max_num_nodes=config["max_workers"],
            resource_requests=ResourceRequestUtil.group_by_count(
                [ResourceRequestUtil.make(bundle) for bundle in demand]
            ),
            recoverable_resource_availabilities=dict.fromkeys(failed, 0.0),
        )
    )
    return {launch.instance_type: launch.count for launch in reply.to_launch}, reply


COHORT = {"CPU": 4.0, "GPU": 1.0}


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_cohorts_get_a_spot_machine_each_and_all_at_once(name, request):
    config = request.getfixturevalue(name)
    assert launched(config, [COHORT] * 5)[0] == {"gpu_spot": 5}
    # A type grows by upscaling_speed times what runs, and by that number from nothing.
    assert config["upscaling_speed"] >= config["max_workers"]


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_never_more_machines_than_allowed(name, request):
    config = request.getfixturevalue(name)
    assert sum(launched(config, [COHORT] * 50)[0].values()) == config["max_workers"]


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_without_spot_capacity_the_machines_are_on_demand(name, request):
    config = request.getfixturevalue(name)
    assert launched(config, [COHORT] * 2, failed=["gpu_spot"])[0] == {"gpu_on_demand": 2}


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_a_driver_never_starts_a_gpu_machine(name, request):
    config = request.getfixturevalue(name)
    launches, reply = launched(config, [{"driver": 0.01}])
    assert launches == {}
    assert len(reply.infeasible_resource_requests) == 1
