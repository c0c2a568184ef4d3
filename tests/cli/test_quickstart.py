"""`lrjax quickstart` draws whatever its experiments look at."""

from lrjax.cli.quickstart import DATASETS, EXPERIMENTS
from lrjax.experiments import runner
from lrjax.experiments.context import TESTS
from lrjax.tasks.runs import find_config


def test_all_that_is_looked_at_is_drawn() -> None:
    assert set(EXPERIMENTS) <= set(runner.names())
    tests = TESTS["quick"]
    specs = [tests.generated, tests.native, tests.wild, tests.identities, tests.shrunk]
    for name in ("degradation:quick", "landmarks:s4-quick"):
        config = find_config(name)
        specs += [*config.labelled, *config.real]
    assert {spec.partition(":")[0] for spec in specs} == set(DATASETS)
