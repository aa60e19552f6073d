"""Questions to processes, and grants of starts, as the supervisor keeps them."""

from typing import Any, cast

from amqtask.control.commands import ProcessAnswer
from amqtask.core.sharing import Claim
from amqtask.worker.asking import MOST_UNANSWERED, PATIENCE, Asking
from amqtask.worker.process import Process
from amqtask.worker.rates import Rates


class Fake:
    """A process that keeps what it is sent."""

    def __init__(self, pid: int) -> None:
        self.pid = self.index = pid
        self.ready = True
        self.sent: list[dict[str, Any]] = []

    def send(self, note: dict[str, Any]) -> bool:
        self.sent.append(note)
        return True


def processes(*fakes: Fake) -> list[Process]:
    return [cast(Process, fake) for fake in fakes]


def test_a_question_is_over_when_all_have_answered() -> None:
    asking, one, two, heard = Asking(), Fake(1), Fake(2), list[list[ProcessAnswer]]()
    asking.ask(processes(one, two), "active", {}, 0.0, heard.append)

    asking.heard(*processes(two), one.sent[0]["ticket"], ["b"])
    assert heard == []
    asking.heard(*processes(one), one.sent[0]["ticket"], ["a"])

    assert heard == [[ProcessAnswer(1, 1, ["a"]), ProcessAnswer(2, 2, ["b"])]]


def test_a_process_that_is_late_is_left_out_and_not_asked_until_it_has_answered() -> None:
    asking, late, heard = Asking(), Fake(1), list[list[ProcessAnswer]]()
    asking.ask(processes(late), "active", {}, 0.0, heard.append)
    assert asking.turn(PATIENCE / 2) == PATIENCE
    asking.turn(PATIENCE)
    asking.ask(processes(late), "active", {}, 1.0, heard.append)
    assert (len(heard), len(late.sent)) == (2, 1)

    asking.heard(*processes(late), late.sent[0]["ticket"], ["late"])
    asking.ask(processes(late), "active", {}, 2.0, heard.append)

    assert (len(heard), len(late.sent)) == (2, 2)


def test_only_so_many_questions_are_put_to_a_process() -> None:
    asking, slow, heard = Asking(), Fake(1), list[list[ProcessAnswer]]()
    for _ in range(MOST_UNANSWERED + 5):
        asking.ask(processes(slow), "active", {}, 0.0, heard.append)

    assert (len(slow.sent), len(heard)) == (MOST_UNANSWERED, 5)


def test_a_process_that_ends_is_not_waited_for() -> None:
    asking, one, two, heard = Asking(), Fake(1), Fake(2), list[list[ProcessAnswer]]()
    asking.ask(processes(one, two), "active", {}, 0.0, heard.append)
    asking.heard(*processes(one), one.sent[0]["ticket"], [])

    asking.gone(*processes(two))

    assert heard == [[ProcessAnswer(1, 1, []), ProcessAnswer(2, 2, None)]]


def test_one_that_is_not_ready_is_not_asked() -> None:
    asking, young, heard = Asking(), Fake(1), list[list[ProcessAnswer]]()
    young.ready = False

    asking.ask(processes(young), "active", {}, 0.0, heard.append)

    assert heard == [[ProcessAnswer(1, 1, None)]]


def no_claim(task: str, claim: Claim) -> None:
    raise AssertionError(f"{task} is limited for the node alone")


def grants(fake: Fake) -> int:
    return len(fake.sent)


def test_starts_are_granted_at_the_rate_and_in_turn() -> None:
    rates, one, two = Rates(no_claim), Fake(1), Fake(2)
    for _ in range(3):
        rates.want(*processes(one), "t", 2.0)
        rates.want(*processes(two), "t", 2.0)

    assert rates.turn(0.0) == 0.5
    rates.turn(0.5)
    rates.turn(1.0)
    rates.turn(1.5)

    assert (grants(one), grants(two)) == (2, 2)


def test_a_grant_that_was_not_used_is_given_to_another() -> None:
    rates, one, two = Rates(no_claim), Fake(1), Fake(2)
    rates.want(*processes(one), "t", 0.1)
    rates.want(*processes(two), "t", 0.1)
    rates.turn(0.0)
    assert (grants(one), grants(two)) == (1, 0)

    rates.unused("t")
    rates.turn(0.0)

    assert grants(two) == 1


def test_tasks_do_not_wait_for_each_other() -> None:
    rates, one = Rates(no_claim), Fake(1)
    rates.want(*processes(one), "slow", 0.001)
    rates.want(*processes(one), "slow", 0.001)
    rates.want(*processes(one), "fast", 100.0)

    rates.turn(0.0)

    assert [note["task"] for note in one.sent] == ["slow", "fast"]


def test_a_process_that_ended_gets_nothing() -> None:
    rates, one, two = Rates(no_claim), Fake(1), Fake(2)
    rates.want(*processes(one), "t", 1.0)
    rates.want(*processes(two), "t", 1.0)

    rates.gone(*processes(one))
    rates.turn(0.0)

    assert (grants(one), grants(two)) == (0, 1)


def test_a_limit_of_the_cluster_is_claimed_and_granted_by_others() -> None:
    claims: list[tuple[str, Claim]] = []
    rates, one, two = Rates(lambda task, claim: claims.append((task, claim))), Fake(1), Fake(2)
    rates.want(*processes(one), "t", 2.0, shared=True)
    rates.want(*processes(two), "t", 2.0, shared=True)
    rates.want(*processes(one), "t", 2.0, shared=True)

    assert rates.turn(0.0) == float("inf")
    assert (grants(one), grants(two)) == (0, 0)
    rates.granted("t", 2)
    rates.turn(0.1)

    assert (grants(one), grants(two)) == (1, 1)
    assert claims == [("t", Claim(rate=2.0, wanted=3, had=0)), ("t", Claim(rate=2.0, wanted=3, had=2))]


def test_what_a_process_wanted_is_not_claimed_any_more_when_it_ended() -> None:
    claims: list[tuple[str, Claim]] = []
    rates, one, two = Rates(lambda task, claim: claims.append((task, claim))), Fake(1), Fake(2)
    rates.want(*processes(one), "t", 2.0, shared=True)
    rates.want(*processes(two), "t", 2.0, shared=True)
    rates.turn(0.0)

    rates.gone(*processes(one))
    rates.turn(0.1)

    assert claims[-1] == ("t", Claim(rate=2.0, wanted=1, had=0))
