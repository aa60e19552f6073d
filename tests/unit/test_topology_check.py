"""Mistakes that can be seen before a broker is asked."""

from pathlib import Path

import pytest

from amqtask.config.load import load_mapping
from amqtask.config.meaning import find
from amqtask.core.queue_arguments import parse_version
from tests.support.config import Folder, short


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        # names
        ("exchanges: {amq.mine: {}}", '1:13 exchange "amq.mine": names that begin with "amq." are the server\'s own'),
        ("queues: {aqt.mine: {}}", '1:10 queue "aqt.mine": names that begin with "aqt." are amqtask\'s own'),
        ("queues: {'': {}}", "1:10 the name of the queue is empty"),
        (f"queues: {{{'q' * 256}: {{}}}}", "1:10 the name of the queue is longer than 255 bytes"),
        (f"queues: {{{'ä' * 128}: {{}}}}", "1:10 the name of the queue is longer than 255 bytes"),
        # dangling
        ("queues: {q: {bind: ['task[a]']}}", 'no exchange "task" is declared (did you mean "tasks"?)'),
        ("bindings: ['tasks[a] -> qq']\nqueues: {q: {}}", 'no queue or exchange "qq" is declared (did you mean "q"?)'),
        ("bindings: ['task[a] -> q']\nqueues: {q: {}}", 'no exchange "task" is declared'),
        ("queues: {q: {dead_letter: dead}}", 'no queue "dead" is declared for its dead letters'),
        ("queues: {q: {dead_letter: {exchange: taks}}}", '1:38 queue "q", dead_letter: no exchange "taks" is declared'),
        (
            "queues: {mail: {}}\nroutes: [{task: a, queue: mial}]",
            '2:27 no queue "mial" is declared (did you mean "mail"?)',
        ),
        ("routes: [{task: a, exchange: task}]", '1:30 no exchange "task" is declared (did you mean "tasks"?)'),
        ("tasks: {default_queue: q}", '1:24 no queue "q" is declared (none is known)'),
        ("tasks: {default_exchange: task}", '1:27 no exchange "task" is declared (did you mean "tasks"?)'),
        ("queues: {hi: {}}\nworker: {queues: [hi, ho]}", '2:23 no queue "ho" is declared (did you mean "hi"?)'),
        ("queues: {hi: {}}\nworker: {prefetch: {ho: 3}}", '2:25 no queue "ho" is declared (did you mean "hi"?)'),
        ("bindings: [{from: '', to: q}]\nqueues: {q: {}}", "the default exchange takes no bindings"),
        # arguments and types
        ("queues: {q: {max_priority: 5}}", '1:28 queue "q": max_priority is for classic queues, not quorum'),
        ("queues: {q: {max_age: 1d}}", '1:23 queue "q": max_age is for stream queues, not quorum'),
        ("queues: {q: {type: stream, message_ttl: 1s}}", "message_ttl is for quorum and classic queues, not stream"),
        ("queues: {q: {type: stream, dead_letter: true}}", "dead_letter.exchange is for quorum and classic queues"),
        ("queues: {q: {type: classic, delivery_limit: 3}}", "delivery_limit is for quorum queues, not classic"),
        ("queues: {q: {overflow: reject-publish-dlx}}", "is drop-head or reject-publish, not 'reject-publish-dlx'"),
        ("queues: {q: {type: quorum, exclusive: true}}", '1:39 queue "q": a quorum queue cannot be exclusive'),
        ("queues: {q: {type: quorum, auto_delete: true}}", "a quorum queue cannot be auto_delete"),
        ("queues: {q: {type: stream, durable: false}}", "a stream queue cannot be durable: false"),
        ("queues: {q: {arguments: {x-max-length: many}}}", "1:40 queue \"q\": 'many' is no value for x-max-length"),
        ("queues: {q: {arguments: {x-max-priority: 5}}}", '1:42 queue "q": max_priority is for classic queues'),
        ("queues: {q: {message_ttl: 11000d}}", "is no value for x-message-ttl"),
        ("queues: {q: {expires: 0}}", "0 is no value for x-expires"),
        ("queues: {q: {arguments: {x-queue-type: classic}}}", 'write "type:" instead'),
        ("exchanges: {x: {arguments: {alternate-exchange: x}}}", 'write "alternate:" instead'),
        ("queues: {q: {dead_letter: {strategy: at-least-once}}}", "at-least-once needs overflow: reject-publish"),
        ("queues: {q: {exclusive: true, arguments: {x-dead-letter-routing-key: d}}}", "without a dead-letter exchange"),
        ("exchanges: {x: {type: topik}}", '1:23 exchange "x": unknown type "topik" (did you mean "topic"?)'),
        ("exchanges: {x: {type: x-delayed-message}}", "needs the argument x-delayed-type"),
        ("exchanges: {x: {alternate: task}}", '1:28 exchange "x": no exchange "task" is declared'),
        (
            "exchanges: {h: {type: headers}}\nqueues: {q: {bind: [{exchange: h, match: {x-match: some}}]}}",
            "x-match is one of all, any",
        ),
        # cycles
        (
            "queues: {a: {message_ttl: 1s, dead_letter: b}, b: {message_ttl: 1s, dead_letter: a}}",
            "dead letters go round, a -> b -> a: the server drops",
        ),
        ("queues: {a: {message_ttl: 1s, dead_letter: a}}", "dead letters go round, a -> a"),
        # routes
        (
            "queues: {q: {bind: ['tasks[hi.#]']}}\nroutes: [{task: a, exchange: tasks, key: 'lo.{task}'}]",
            '2:42 the route "a" reaches no queue: exchange "tasks", key "lo.{task}" (bound there: "hi.#")',
        ),
        ("routes: [{task: a, exchange: tasks}]", '1:17 the route "a" reaches no queue'),
        (
            "queues: {q: {bind: ['tasks[#]']}}\nroutes: [{task: a, exchange: tasks, key: '{kwarg.x}'}]",
            "has a field that is not known",
        ),
        (
            "queues: {q: {}}\nroutes: [{task: 'a.*', queue: q}, {task: a.b, queue: q}]",
            '2:42 the route "a.b" is never taken: "a.*" before it takes all that it would',
        ),
        ("queues: {q: {}}\nroutes: [{task: a, queue: q}, {task: a, queue: q}]", "is never taken"),
        ("exchanges: {x: {internal: true}}\nroutes: [{task: a, exchange: x}]", "is internal and takes no publishes"),
    ],
)
def test_a_mistake_is_found_and_placed(folder: Folder, text: str, complaint: str) -> None:
    if "exchanges:" not in text:
        folder.write("exchanges: {tasks: {}}", "tasks.yaml")
        text = f"{text}\ninclude: [tasks.yaml]\n"

    complaints = folder.complaints(text)

    assert any(complaint in found for found in complaints), complaints


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("queues: {q: {}}", '1:10 nothing is bound to the queue "q", and no route names it'),
        ("exchanges: {x: {}}", '1:13 exchange "x" has no bindings: it takes messages nowhere'),
        (
            "exchanges: {amqp: {bind: [amq.topic], alternate: amq.fanout}}",
            "RabbitMQ before 3.11 exports no definitions",
        ),
        ("queues: {q: {bind: [amq.topic], delivery_limit: 3, dead_letter: false}}", "over the delivery_limit are lost"),
        ("queues: {q: {bind: ['amq.direct[a.*]']}}", 'takes "a.*" literally'),
        ("queues: {q: {bind: ['amq.fanout[a]']}}", 'a fanout exchange does not look at the key "a"'),
        ("queues: {q: {bind: [{exchange: amq.topic, match: {a: 1}}]}}", "a topic exchange does not look at headers"),
        ("queues: {q: {bind: ['amq.topic[a, a]']}}", "the key 'a' is bound twice"),
        ("queues: {q: {bind: ['amq.topic[#.a.#.b.#]']}}", "4.3.5 and later refuse more than two #"),
        ("queues: {q: {durable: false, bind: [amq.topic]}}", "refuses queues that are neither durable nor exclusive"),
        (
            "queues: {work: {bind: [amq.topic], dead_letter: wait}, wait: {message_ttl: 5s, dead_letter: work}}",
            "dead letters go round, work -> wait -> work: a message that is always rejected never ends",
        ),
        (
            "exchanges: {q: {bind: [amq.topic], alternate: amq.topic}}\n"
            "queues: {q: {}}\nbindings: ['amq.topic[] -> q']",
            '"q" is a queue and an exchange; the queue is taken',
        ),
    ],
)
def test_what_is_worth_a_look_is_a_warning(folder: Folder, text: str, warning: str) -> None:
    warnings = [short(problem) for problem in folder.load(text).warnings]

    assert any(warning in found for found in warnings), warnings


@pytest.mark.parametrize(
    "text",
    [
        # a route whose key the arguments decide may reach a queue
        "queues: {q: {bind: ['amq.topic[report.pdf]']}}\n"
        "routes: [{task: r, exchange: amq.topic, key: 'report.{kwargs.kind}'}]",
        # the alternate exchange reaches one
        "exchanges: {x: {alternate: y}, y: {type: fanout}}\nqueues: {q: {bind: [y]}}\nroutes: [{task: a, exchange: x}]",
        # somebody else's exchange: its bindings are not known here
        "exchanges: {theirs: {declare: verify}}\nroutes: [{task: a, exchange: theirs}]",
        # a plugin's type
        "exchanges: {x: {type: x-consistent-hash}}\nqueues: {q: {bind: ['x[1]']}}",
        # dead letters that end
        "queues: {a: {dead_letter: b, message_ttl: 1s}, b: {dead_letter: c, message_ttl: 1s}, c: {}}\n"
        "routes: [{task: a, queue: a}]",
        # a route with an earlier one that takes only some of its names
        "queues: {q: {}}\nroutes: [{task: a.b, queue: q}, {task: 'a.*', queue: q}, {task: '*', queue: q}]",
        # a dead-letter queue and a default queue need no binding
        "queues: {q: {}}\ntasks: {default_queue: q}",
        # a queue of others
        "queues: {legacy: {declare: verify}}",
    ],
)
def test_what_is_right_is_left_alone(folder: Folder, text: str) -> None:
    assert folder.load(text).warnings == ()


@pytest.mark.parametrize(
    ("queue", "server", "complaint"),
    [
        ({"message_ttl": 1}, "3.9", "message_ttl of a quorum queue needs RabbitMQ 3.10, and this is 3.9"),
        ({"message_ttl": 1}, "3.10.8", None),
        ({"type": "stream"}, "3.8", "stream queues need RabbitMQ 3.9, and this is 3.8"),
        ({"consumer_timeout": "1h"}, "3.11", "consumer_timeout of a quorum queue needs RabbitMQ 3.12"),
        ({"consumer_timeout": "1h"}, "4.3", None),
        ({"consumer_timeout": "1h", "type": "classic"}, "4.3", "RabbitMQ 4.3 and later refuse consumer_timeout"),
        ({"delayed_retry": {}}, "4.2", "needs RabbitMQ 4.3"),
        ({"durable": False}, "4.3", "neither durable nor exclusive"),
        ({"durable": False}, "3.10", None),
        ({"bind": ["amq.topic[#.a.#.b.#]"]}, "4.3.5", "more than two #"),
        ({"bind": ["amq.topic[#.a.#.b.#]"]}, "4.3.4", None),
        ({"delivery_limit": -1}, "3.10.8", None),
    ],
)
def test_what_a_version_does_not_take_is_found(queue: dict[str, object], server: str, complaint: str | None) -> None:
    config = load_mapping({"queues": {"q": queue}}).config

    found = [finding.message for finding in find(config, server=parse_version(server)) if not finding.is_warning]

    if complaint is None:
        assert found == []
    else:
        assert any(complaint in message for message in found), found
