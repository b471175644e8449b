"""A replicate is the same settings under names of its own."""

from raykd.experiments.plan import CohortPlan, TrialPlan

PLAN = CohortPlan(
    "0000",
    (
        TrialPlan("kd", "reference", "kd", {"alpha": 0.5}),
        TrialPlan("0003", "search", "itrd", {"alpha": 1.5}, 3),
    ),
)


def test_the_first_replicate_is_the_plan_itself() -> None:
    assert PLAN.replicated(0) is PLAN


def test_a_replicate_differs_by_name_and_seed_alone() -> None:
    twin = PLAN.replicated(2)
    assert (twin.cohort, twin.replicate) == ("0000-s2", 2)
    assert [setting.trial for setting in twin.trials] == ["kd-s2", "0003-s2"]
    for a, b in zip(PLAN.trials, twin.trials, strict=True):
        assert (a.role, a.method, a.config, a.number) == (b.role, b.method, b.config, b.number)
