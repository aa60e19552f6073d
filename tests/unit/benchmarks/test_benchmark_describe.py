from pathlib import Path

from benchmarks.describe import decode, encode, peer_names, peer_of
from benchmarks.job import Job
from benchmarks.peers.base import Feature, Guarantees, Variant
from benchmarks.subject import Subject, is_wanted

VARIANT = Variant(
    name="peer-fast",
    worker=("{bin}/peer", "-Q", "{queue}", "-c", "{processes}", "-n", "{number}"),
    one_process_each=True,
    environment={"peer_prefetch": "{in_flight}"},
    guarantees=Guarantees(persistent=True, confirmed=False, mandatory=False, late_ack=True),
    features=frozenset({Feature.CONSUME, Feature.NAP}),
    settings="{processes} processes",
    queues=("{queue}", "{queue}.dead"),
)
JOB = Job(subject="peer-fast", url="amqp://", redis_url="redis://", queue="q", processes=2, in_flight=50)


def test_a_description_survives_the_way_between_two_interpreters():
    variants, versions = decode(encode([VARIANT], {"peer": "1.2"}))

    assert variants == [VARIANT]
    assert versions["peer"] == "1.2"


def test_templates_are_filled_in_and_one_process_commands_are_repeated():
    subject = Subject(variant=VARIANT, versions={})

    assert subject.commands(JOB, "/venv/bin/python") == [
        ["/venv/bin/peer", "-Q", "q", "-c", "2", "-n", "0"],
        ["/venv/bin/peer", "-Q", "q", "-c", "2", "-n", "1"],
    ]
    assert subject.leftovers(JOB, "/venv/bin/python") == (["q", "q.dead"], [])
    assert subject.environment(JOB, "/venv/bin/python")["peer_prefetch"] == "50"


def test_a_job_survives_the_environment(monkeypatch):
    for name, value in JOB.environment().items():
        monkeypatch.setenv(name, value)

    assert Job.from_environment() == JOB


def test_a_peer_is_wanted_by_its_own_name_or_by_its_variants():
    assert is_wanted("peer-fast", ["peer"])
    assert is_wanted("peer-fast", ["peer-fast"])
    assert not is_wanted("peer-fast", ["peer-slow", "pee"])
    assert peer_of("peer-fast") == "peer"


def test_a_new_file_is_a_new_peer(tmp_path: Path):
    for name in ("__init__", "base", "new"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('imported')")

    assert peer_names(tmp_path) == ["new"]
