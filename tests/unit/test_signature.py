"""Signatures: calls as values, in Celery's JSON form and completed step by step."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.core import extended_json
from amqtask.core.signature import Signature
from amqtask.errors import MalformedMessage
from tests.wire.celery_messages import FULL

ADD = Signature(task="proj.add", args=(2,), kwargs={"c": 3}, options={"queue": "lo"})
LOG = Signature(task="proj.log")

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda items: st.lists(items, max_size=3) | st.dictionaries(st.text(max_size=5), items, max_size=3),
    max_leaves=6,
)
members = st.dictionaries(st.text(max_size=8), values, max_size=3)
signatures = st.builds(
    Signature,
    task=st.text(min_size=1, max_size=10),
    args=st.lists(values, max_size=3).map(tuple),
    kwargs=members,
    options=members,
    subtask_type=st.none() | st.sampled_from(["chain", "group", "chord"]),
    immutable=st.booleans(),
    chord_size=st.none() | st.integers(0, 100),
)


@given(signatures)
def test_the_json_form_says_all_that_a_signature_holds(signature: Signature) -> None:
    form = signature.to_json()

    assert Signature.from_json(form) == signature
    assert Signature.from_json(extended_json.loads(extended_json.dumps(form))) == signature


def test_signatures_of_celery_are_read_and_written_as_they_came() -> None:
    forms = [*FULL.message.callbacks, *FULL.message.errbacks, *FULL.message.chain, FULL.message.chord]

    assert [Signature.from_json(form).to_json() for form in forms] == forms


def test_a_signature_may_stand_where_a_value_is_serialised() -> None:
    assert json.loads(extended_json.dumps([ADD])) == [ADD.to_json()]


def test_signatures_within_a_signature_take_their_json_form() -> None:
    group = Signature(task="celery.group", kwargs={"tasks": (ADD, LOG)}, subtask_type="group")

    assert group.set(link=LOG).to_json() == {
        "task": "celery.group",
        "args": [],
        "kwargs": {"tasks": [ADD.to_json(), LOG.to_json()]},
        "options": {"link": LOG.to_json()},
        "subtask_type": "group",
        "immutable": False,
    }


def test_arguments_of_a_clone_go_before_its_own() -> None:
    clone = ADD.clone((1,), {"d": 4}, priority=5)

    assert (clone.args, clone.kwargs, clone.options) == ((1, 2), {"c": 3, "d": 4}, {"queue": "lo", "priority": 5})
    assert ADD.args == (2,)


def test_later_keyword_arguments_and_options_win() -> None:
    clone = ADD.clone(kwargs={"c": 9}, queue="hi")

    assert (clone.kwargs, clone.options) == ({"c": 9}, {"queue": "hi"})


def test_an_immutable_signature_takes_options_only() -> None:
    clone = ADD.set(immutable=True).clone((1,), {"d": 4}, queue="hi")

    assert (clone.args, clone.kwargs, clone.options) == ((2,), {"c": 3}, {"queue": "hi"})
    assert clone.immutable


def test_a_member_of_a_group_stays_in_it_and_keeps_its_stamps() -> None:
    member = ADD.set(group_id="g", stamped_headers=["tenant"], tenant="blue")

    clone = member.clone(group_id="other", stamped_headers=[], tenant="red", queue="hi")

    assert clone.options == {"queue": "hi", "group_id": "g", "stamped_headers": ["tenant"], "tenant": "blue"}
    assert member.set(group_id="other").options["group_id"] == "other"


def test_links_add_up_and_each_counts_once() -> None:
    linked = ADD.link(LOG).link(ADD).link(LOG).link_error(LOG)

    assert linked.callbacks == (LOG, ADD)
    assert linked.errbacks == (LOG,)
    assert ADD.callbacks == ADD.errbacks == ()


def test_a_link_may_be_one_signature_or_a_form_of_it() -> None:
    assert ADD.set(link=LOG).callbacks == (LOG,)
    assert ADD.set(link=LOG.to_json()).callbacks == (LOG,)
    assert ADD.set(link=[LOG]).link(ADD).callbacks == (LOG, ADD)


def test_a_signature_reads_as_a_call() -> None:
    assert str(ADD) == "proj.add(2, c=3)"


@pytest.mark.parametrize(
    ("form", "complaint"),
    [
        (None, "a signature is None, expected an object"),
        ([1], "a signature is a list of 1"),
        ({}, "a signature names the task None"),
        ({"task": ""}, "a signature names the task ''"),
        ({"task": "t", "args": "ab"}, "args of the signature of t hold 'ab', expected a list"),
        ({"task": "t", "kwargs": []}, "kwargs of the signature of t hold a list of 0"),
        ({"task": "t", "options": {1: 2}}, "options of the signature of t have the key 1"),
        ({"task": "t", "immutable": 1}, "immutable of the signature of t is 1"),
        ({"task": "t", "subtask_type": 1}, "subtask_type of the signature of t is 1"),
        ({"task": "t", "chord_size": True}, "chord_size of the signature of t is True"),
    ],
)
def test_a_form_that_is_no_signature_is_described(form: object, complaint: str) -> None:
    with pytest.raises(MalformedMessage, match=complaint):
        Signature.from_json(form)


def test_what_a_form_leaves_out_is_empty() -> None:
    assert Signature.from_json({"task": "t", "args": None}) == Signature(task="t")
