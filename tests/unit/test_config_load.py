"""Loading a configuration: places of mistakes, YAML's traps, variables, overrides, origins."""

import contextlib
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.config.load import load_config, load_mapping
from amqtask.config.model import Config
from amqtask.errors import ConfigError
from tests.support.config import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_an_empty_file_is_the_defaults(folder: Folder) -> None:
    assert folder.load("").config == Config()
    assert folder.load("# nothing\n---\n").config == Config()


def test_an_empty_section_is_its_defaults(folder: Folder) -> None:
    assert folder.load("broker:\nqueues:\nworker:\n").config == Config()


def test_units_are_read(folder: Folder) -> None:
    config = folder.load(
        """
        broker: {heartbeat: 10s}
        publish: {max_message_size: 1MiB}
        worker: {shutdown_timeout: 1m30s, max_memory_per_child: 200MB}
        """
    ).config

    assert config.broker.heartbeat == 10.0
    assert config.publish.max_message_size == 1024**2
    assert config.worker.shutdown_timeout == 90.0
    assert config.worker.max_memory_per_child == 200_000_000


def test_all_mistakes_are_reported_at_once_each_at_its_place(folder: Folder) -> None:
    complaints = folder.complaints(
        """\
        broker:
          hartbeat: 3
          url: http://localhost
        queues:
          hi: {type: classik}
          lo: {message_ttl: 1x, bind: ["task[lo]"]}
        exchanges: {tasks: {}}
        worker:
          prefetch: many
        quees: {}
        """
    )

    assert complaints == [
        '2:3 unknown key "hartbeat" in broker (did you mean "heartbeat"?)',
        "3:8 broker.url: a broker URL starts with amqp:// or amqps://, not http://",
        "5:14 queues.hi.type: must be 'quorum', 'classic' or 'stream' (did you mean \"classic\"?)",
        "6:21 queues.lo.message_ttl: not a duration; write seconds or units: 500ms, 30s, 5m, 1h30m, 7d, 2w",
        "9:13 worker.prefetch: must be 'auto', a whole number or a mapping",
        '10:1 unknown key "quees" (did you mean "queues"?)',
    ]


def test_a_wrong_value_does_not_hide_what_is_wrong_with_names_elsewhere(folder: Folder) -> None:
    complaints = folder.complaints(
        """\
        worker: {concurrency: many}
        exchanges: {tasks: {}}
        queues: {hi: {bind: ["task[hi]"]}}
        routes: [{task: "*", queue: ho}]
        """
    )

    assert complaints == [
        "1:23 worker.concurrency: must be a whole number",
        '3:22 binding of "hi" to "task": no exchange "task" is declared (did you mean "tasks"?)',
        '4:29 no queue "ho" is declared (did you mean "hi"?)',
    ]


def test_a_lost_object_does_not_make_its_mentions_wrong(folder: Folder) -> None:
    assert folder.complaints('queues: {hi: 5}\nroutes: [{task: "*", queue: hi}]') == [
        "1:14 queues.hi: must be a mapping"
    ]


def test_a_missing_key_is_named_at_the_mapping_that_lacks_it(folder: Folder) -> None:
    assert folder.complaints("routes:\n  - {key: a}\n") == ['2:5 routes[0]: "task" is missing']


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("queues: {a: {}, a: {}}", '1:17 duplicate key "a" (first at line 1)'),
        ("worker: [1]", "1:9 worker: must be a mapping"),
        ("[1, 2]", "1:1 a configuration is a mapping"),
        ("just text", "1:1 a configuration is a mapping"),
        ("imports: tasks", "1:10 imports: must be a list"),
        ("name: 5", "1:7 name: must be text (put it in quotes)"),
        ("worker: {concurrency: 0}", "1:23 worker.concurrency: must be at least 1"),
        ("worker: {ack_batch: 0}", "1:21 worker.ack_batch: must be at least 1"),
        ("worker: {prefetch: true}", "1:20 worker.prefetch: must be 'auto', a whole number or a mapping"),
        ("broker: {urls: []}", "1:16 broker.urls: must not be empty"),
        ("a b: 1", '1:1 unknown key "a b"'),
        ("? [a]\n: 1", "1:3 a key must be plain text"),
        ("worker: !thing {}", "1:9 the tag !thing is not known here"),
        ("name: !!python/name:os.system", "1:7 the tag !!python/name:os.system is not known here"),
        ("name: &a [*a]", "1:7 an alias inside the value that it stands for"),
        ("a: &a {<<: 5}", "1:12 << takes a mapping or a list of mappings"),
        ("timezone: Europe/Berln", "1:11 timezone: no time zone 'Europe/Berln'; write a name such as Europe/Berlin"),
        ("timezone: ../../etc/passwd", "no time zone"),
        ("log: {level: LOUD}", "1:14 log.level: must be 'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL'"),
        ("content: {accept: [jsn]}", "'jsn' is no serializer (did you mean \"json\"?) and no content type"),
    ],
)
def test_a_mistake_is_named_with_its_place(folder: Folder, text: str, complaint: str) -> None:
    assert any(complaint in found for found in folder.complaints(text)), folder.complaints(text)


@pytest.mark.parametrize("text", ["a: [1, 2", "a: b: c", "a: 'x", "a: *nobody", "a: 1\n---\nb: 2", "@a"])
def test_what_is_no_yaml_is_reported_with_its_place(folder: Folder, text: str) -> None:
    (problem,) = folder.problems(text)

    assert "not valid YAML" in problem.message
    assert problem.line is not None
    assert problem.column is not None


def test_a_character_that_yaml_forbids_is_reported_with_its_line(folder: Folder) -> None:
    (problem,) = folder.problems("a: 1\nb: \x01\n")

    assert "not valid YAML" in problem.message
    assert problem.line == 2


def test_a_file_that_is_not_utf8_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(b"name: \xff\xfe")

    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(file, env={})


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*nowhere\.yaml: No such file"):
        load_config(tmp_path / "nowhere.yaml", env={})


# Which file


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    loaded = load_config(env={})

    assert loaded.config == Config()
    assert loaded.file is None


def test_the_file_is_the_named_one_else_the_variables_else_the_working_folders(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.path)
    folder.write("name: folder")
    named, variables = folder.write("name: named", "a.yaml"), folder.write("name: variable", "b.yaml")

    assert load_config(named, env={"AMQTASK_CONFIG": str(variables)}).config.name == "named"
    assert load_config(env={"AMQTASK_CONFIG": str(variables)}).config.name == "variable"
    assert load_config(env={}).config.name == "folder"


# Environment and options


def test_the_environments_url_takes_the_place_of_the_files_urls(folder: Folder) -> None:
    text = "broker: {urls: ['amqp://a/', 'amqp://b/']}"

    broker = folder.load(text, env={"AMQTASK_BROKER_URL": "amqp://c/"}).config.broker

    assert (broker.url, broker.urls) == ("amqp://c/", None)


def test_an_option_beats_the_environment_and_the_file(folder: Folder) -> None:
    broker = folder.load(
        "broker: {url: 'amqp://a/'}",
        env={"AMQTASK_BROKER_URL": "amqp://b/"},
        overrides=["broker.url=amqp://c/", "broker.url=amqp://d/"],
    ).config.broker

    assert broker.url == "amqp://d/"


def test_options_reach_every_kind_of_value(folder: Folder) -> None:
    config = folder.load(
        'routes: [{task: a, queue: hi}]\nqueues: {hi: {}, "a.b": {}}',
        overrides=[
            "worker.concurrency=4",
            "publish.confirm=no",
            "imports=[a, b]",
            "routes.0.task=z",
            'queues."a.b".max_length=5k',
            "queues.new.type=classic",
            "queues.hi.bind=[]",
            "name=",
            "worker.autoscale={min: 1, max: 3}",
        ],
    ).config

    assert config.worker.concurrency == 4
    assert config.publish.confirm is False
    assert config.imports == ("a", "b")
    assert config.routes[0].task == "z"
    assert config.queues["a.b"].max_length == 5000
    assert config.queues["new"].type == "classic"
    assert config.name == ""
    assert config.worker.autoscale is not None
    assert config.worker.autoscale.max == 3


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("worker.concurency=4", 'did you mean "concurrency"'),
        ("worker.concurrency", "not a setting"),
        ("=4", "not a setting"),
        ("a..b=4", "not a setting"),
        ("worker.concurrency=many", "must be a whole number"),
        ("name.x=1", "nothing can be set at name.x"),
        ("routes.5.task=1", "nothing can be set at routes.5.task"),
        ("worker.queues=[a", "not valid YAML"),
    ],
)
def test_a_wrong_option_is_named_as_such(folder: Folder, option: str, words: str) -> None:
    problems = folder.problems("name: x\nroutes: []\n", overrides=[option])

    assert [problem.file for problem in problems] == ["--set"]
    assert words in str(problems[0])


def test_each_value_knows_where_it_came_from(folder: Folder) -> None:
    loaded = folder.load(
        'broker:\n  url: amqp://a/\nqueues:\n  hi: {bind: ["amq.topic[a]"]}\n',
        env={"AMQTASK_BROKER_URL": "amqp://b/"},
        overrides=["worker.prefetch=3"],
    )

    assert str(loaded.origin(("broker", "url"))) == "$AMQTASK_BROKER_URL"
    assert str(loaded.origin(("worker", "prefetch"))) == "--set"
    assert str(loaded.origin(("worker", "pool"))) == "default"
    assert str(loaded.origin(("queues", "hi", "bind", 0, "exchange"))).endswith("amqtask.yaml:4")


# Code


def test_code_may_give_a_mapping() -> None:
    config = load_mapping({"queues": {"hi": {"max_length": 5}}, "imports": ("a", "b")}).config

    assert config.queues["hi"].max_length == 5
    assert config.imports == ("a", "b")


def test_code_is_not_subject_to_variables() -> None:
    assert load_mapping({"name": "${HOME}"}).config.name == "${HOME}"


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"workers": {}}, 'did you mean "worker"'),
        ({1: {}}, "not text"),
        ({"name": object()}, "of type object"),
        ({"include": ["a.yaml"]}, "include is for files"),
    ],
)
def test_a_mistake_in_code_is_named(mapping: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_mapping(mapping)


def test_loading_changes_nothing_in_the_mapping() -> None:
    mapping: dict[str, object] = {"broker": {"urls": ["amqp://a/"]}}

    load_mapping(mapping, env={"AMQTASK_BROKER_URL": "amqp://b/"}, overrides=["worker.prefetch=1"])

    assert mapping == {"broker": {"urls": ["amqp://a/"]}}


# Secrets


PASSWORD = "-".join(["hunter", "2"])
"""Put together, so that a line of this file in a traceback does not hold it."""


@pytest.mark.parametrize(
    "text",
    [
        "broker: {url: 'amqp://u:PASSWORD@h:port/'}",
        "broker: {url: 'amqp://u:PASSWORD@h/a/b'}",
        "broker: {url: 'amqp://u:PASSWORD@h/?heartbeat=3'}",
        "broker: {url: 'http://u:PASSWORD@h/'}",
        "broker: {url: [PASSWORD]}",
        "broker: {url: 'amqp://u:PASSWORD@h/', hartbeat: 3}",
        "broker:\n  url: amqp://u:PASSWORD@h/\n bad: [",
        "control: {secret: [PASSWORD]}",
        "control: {secret: PASSWORD, exchange: 5}",
        "results: {url: [PASSWORD]}",
    ],
)
def test_no_mistake_tells_a_secret(folder: Folder, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        folder.load(text.replace("PASSWORD", PASSWORD), overrides=[f"broker.urls={PASSWORD}"])

    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.problems)
    assert PASSWORD not in shown


def test_no_rendering_of_the_configuration_tells_a_secret(folder: Folder) -> None:
    loaded = folder.load(
        """
        broker: {url: "amqp://u:hunter2@h/", management: "http://u:hunter2@h/"}
        control: {secret: hunter2}
        results: {url: "redis://:hunter2@h/"}
        """,
        overrides=["broker.url=amqp://u:hunter2@h/"],
    )

    assert "hunter2" not in repr(loaded)
    assert "hunter2" not in str(loaded.config)
    assert "hunter2" not in repr(loaded.config.broker.addresses())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*Config.model_fields, "x", "url", "bind", "0"]), inner, max_size=4)
        ),
        max_leaves=12,
    ).filter(lambda value: isinstance(value, dict))
)
def test_whatever_code_gives_is_loaded_or_refused_with_a_reason(mapping: dict[str, object]) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(load_mapping(mapping).config, Config)
