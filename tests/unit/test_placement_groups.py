"""The index of groups."""

from hpgreedy.model import Claim, Cluster, Demand, Host, Rule, RuleKind
from hpgreedy.placement import Fleet
from hpgreedy.placement.fleet.groups import Groups


def test_names_of_groups_that_nobody_has_any_more_are_forgotten():
    fleet = Fleet(Cluster({"h": Host(key="h", cpu=4, memory=8)}))
    rules = (Rule(kind=RuleKind.APART, group="other"), Rule(kind=RuleKind.TOGETHER, group="other"))
    fleet.add(Claim(demand=Demand(key="a", cpu=1, memory=1, group="g", rules=rules), host="h"))
    for _ in fleet.watches("other", ""):
        fleet.remove("a", "h")
    assert vars(fleet.groups) == vars(Groups())
