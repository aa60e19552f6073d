import pytest

from benchmarks.processes import TICKS_A_SECOND, Stat, family, parse_pss, parse_stat


def stat(pid: int, parent: int, session: int) -> Stat:
    return Stat(pid=pid, state="S", parent=parent, session=session, cpu=0.0)


def test_a_command_name_may_hold_spaces_and_parentheses():
    line = "42 (a (b) c) S 7 42 40 0 -1 4194304 1 2 3 4 100 50 25 25 20 0 1 0 99 1000 10"

    found = parse_stat(line)

    assert (found.pid, found.state, found.parent, found.session) == (42, "S", 7, 40)
    assert found.cpu == pytest.approx(200 / TICKS_A_SECOND)


def test_a_family_has_descendants_and_whoever_stayed_in_the_session():
    leader, child, grandchild = stat(10, 1, 10), stat(11, 10, 10), stat(12, 11, 12)
    orphan, stranger = stat(13, 1, 10), stat(14, 1, 14)

    found = family([grandchild, stranger, orphan, child, leader], [10])

    assert {one.pid for one in found} == {10, 11, 12, 13}


def test_pss_is_told_in_bytes():
    assert (
        parse_pss("55d0-7ffd ---p 00000000 00:00 0 [rollup]\nRss:   9000 kB\nPss:   1234 kB\nPss_Anon: 5 kB\n")
        == 1234 * 1024
    )


def test_a_rollup_without_pss_is_a_mistake():
    with pytest.raises(ValueError, match="Pss"):
        parse_pss("Rss: 1 kB\n")
