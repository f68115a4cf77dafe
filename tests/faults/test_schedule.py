"""Schedules and loads: the same seed gives the same, and together the seeds bring everything."""

import subprocess
import sys

from deploy.local.processes import PROJECT_ROOT
from services.activity import consumers as activity
from services.signals import consumers as signals
from services.signals.settings import SignalsSettings
from services.workflow import consumers as workflow
from services.workflow.settings import WorkflowSettings
from shared.access import access_subscription
from tests.faults.engine import EngineLoad
from tests.faults.mutations import PATCHES, SQL, Mutation
from tests.faults.quiescence import GROUPS, unread
from tests.faults.schedule import LOAD_SECONDS, SERVERS, SERVICES, Kind, links, schedule


def test_a_seed_is_always_the_same_schedule() -> None:
    assert [schedule(seed) for seed in range(50)] == [schedule(seed) for seed in range(50)]
    assert len({tuple(schedule(seed)) for seed in range(50)}) == 50


def test_faults_begin_under_load_and_hit_what_exists() -> None:
    for fault in (fault for seed in range(200) for fault in schedule(seed)):
        assert 0 < fault.at < LOAD_SECONDS
        assert 0 <= fault.seconds <= 30
        assert fault.target in {*SERVICES, *SERVERS, *links()}


def test_a_few_seeds_bring_every_kind_of_fault() -> None:
    assert {fault.kind for seed in range(1, 21) for fault in schedule(seed)} == set(Kind)


def test_every_seed_kills_somebody_in_the_middle_of_work() -> None:
    assert all(any(fault.kind is Kind.STALL_AND_KILL for fault in schedule(seed)) for seed in range(200))


def test_the_engine_of_a_seed_always_says_the_same() -> None:
    first, again, other = EngineLoad(1, "node"), EngineLoad(1, "node"), EngineLoad(2, "node")
    said = [first.next() for _ in range(200)]
    assert said == [again.next() for _ in range(200)]
    assert said != [other.next() for _ in range(200)]
    assert (
        first.bad == {(message.key, message.value) for messages in said for message in messages if message.bad} != set()
    )


def test_every_mutation_breaks_something() -> None:
    assert set(Mutation) == set(PATCHES) | set(SQL)


def test_every_patch_still_finds_what_it_breaks() -> None:
    code = "from tests.faults.mutations import Mutation, apply\nfor one in Mutation: apply(one)"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, check=True)


def test_rest_waits_for_every_group() -> None:
    place = {"database_url": "postgresql://nobody:x@127.0.0.1/none", "kafka_bootstrap_servers": "none:9092"}
    subscriptions = [
        *signals.subscriptions(SignalsSettings.model_validate(place)),
        *workflow.subscriptions(WorkflowSettings.model_validate(place)),
        *activity.SUBSCRIPTIONS,
        access_subscription("signals"),
        access_subscription("workflow"),
    ]
    waited_for = {group: topic for groups in GROUPS.values() for group, topic in groups.items()}
    assert {subscription.group: subscription.topic.name for subscription in subscriptions} == waited_for


def test_what_a_group_has_not_read_is_named() -> None:
    ends = {("compass.signals.v1", 3): 5}
    stored = {("workflow.signals", "compass.signals.v1", 3): 5, ("activity.signals", "compass.signals.v1", 3): 4}
    assert list(unread(ends, stored)) == ["activity.signals is at 4 of 5 in compass.signals.v1/3"]
