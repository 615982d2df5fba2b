"""The run loop on a simulated cluster: whatever happens, every stack ends once and rightly."""

from collections import Counter

import pytest

from batchstack.batch.dispatch import Dispatcher
from batchstack.batch.engines import StopRequest
from batchstack.errors import ClusterLostError
from tests.faults.simulated import CLAIM, SimulatedCluster, works

SHORT, LONG = 200, 10_000
N_STACKS = 12
# Every way of recovery that the run loop has; one that is never taken proves nothing.
PATHS = {
    "all its workers left",
    "called the culprit",
    "drained without workers",
    "given up",
    "handed out again",
    "heard too late",
    "left by its worker",
    "lost a tile",
    "lost by the cluster",
    "may wait on a worker that is stuck",
    "no workers for too long",
    "refused a worker",
    "result was not accepted",
    "scheduler did not answer",
    "shared in one process",
    "spread",
    "suspected",
    "taken back",
    "took work from a frozen worker",
    "tried alone",
    "waited for workers",
    "waited on a worker that died",
    "worker did not answer",
}


def fault(result):
    """As the run has it: what was done by another version, or not seen, is not accepted."""
    if result.unfit:
        return result.unfit
    return None if result.versions == CLAIM.versions else "it has batchstack 0"


def simulate(seed):
    """Run one seed, hold it against the oracle, return the ways of recovery it took."""
    cluster = SimulatedCluster(seed, N_STACKS)
    said = []
    known = {"wait_workers": 90.0, "memory_needed": 10, "one_machine": cluster.one_machine}
    dispatcher = Dispatcher(cluster, **known, say=said.append)
    stop = StopRequest()
    drain_after = cluster.random.randint(0, N_STACKS) if seed % 7 == 0 else None
    if seed % 14 == 0:
        # Someone interrupts a run whose workers have all paused.
        cluster.when_all_pause = lambda: setattr(stop, "drain", True)
    results, is_lost, heard = [], False, []
    try:
        for result in dispatcher.results(works(cluster, N_STACKS), stop, fault, heard.append):
            results.append(result)
            if drain_after is not None and len(results) >= drain_after:
                stop.drain = True
    except ClusterLostError:
        is_lost = True
    ended = Counter(result.job.id for result in results)
    assert all(times == 1 for times in ended.values()), "a stack ended twice"
    if not is_lost and not stop.drain:
        assert len(ended) == N_STACKS, "a stack was forgotten"
    for result in results:
        stack = result.job.id
        if not result.error:
            assert fault(result) is None, "what no one may use was used"
            assert stack not in cluster.poison
        elif "in vain" in result.error:
            assert "/out" not in result.error, "given to a worker again that was refused"
            assert "batchstack 0" not in result.error, "given to a worker again that was refused"
        else:
            assert cluster.deaths[stack] >= 2, "blamed without having been at work twice"
            assert cluster.last_beside[stack] == 0, "blamed with others beside it"
            assert "killed" in result.error or "memory limit" in result.error
    assert all("\n" not in message for message in said)
    assert all(0 <= told.fraction <= 1 for told in heard)
    return dispatcher.visits


def test_every_stack_ends_once_and_rightly_and_every_way_of_recovery_is_taken():
    visits = sum((checked(seed) for seed in range(SHORT)), Counter())
    assert visits.keys() >= PATHS, f"never taken: {PATHS - visits.keys()}"
    assert visits.keys() <= PATHS, f"not listed: {visits.keys() - PATHS}"


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_more_seeds():
    visits = sum((checked(seed) for seed in range(LONG)), Counter())
    print(dict(visits.most_common()))
    assert visits.keys() == PATHS


def checked(seed):
    try:
        return simulate(seed)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
