"""What may be put on record about a task, and that every kind is explained."""

import pytest

from gateway.core.task import GATEWAY, GUIDES, NotKept, TaskKind, person, reason


def test_every_kind_of_task_says_what_happened_and_what_to_do_next() -> None:
    assert GUIDES.keys() == set(TaskKind)
    for guide in GUIDES.values():
        assert guide.what.endswith(".")
        assert guide.next.endswith(".")
        assert guide.detail == f"{guide.what} {guide.next}"


@pytest.mark.parametrize("kept", ["gebeld", "é" * 500, "Zij betaalt € 50 \N{SLIGHTLY SMILING FACE}"])
def test_a_reason_is_kept_without_the_space_around_it(kept: str) -> None:
    assert reason(f" {kept}\t\n") == kept


@pytest.mark.parametrize(
    ("typed", "rule"),
    [
        ("", "leeg"),
        (" \t\n", "leeg"),
        ("\N{NO-BREAK SPACE}", "leeg"),
        ("x" * 501, "500 tekens"),
        ("een\ntwee", "stuurtekens"),
        ("een\0", "stuurtekens"),
        ("\x1b[2J", "stuurtekens"),
        ("een\N{LINE SEPARATOR}twee", "stuurtekens"),
        ("\udcff", "stuurtekens"),
    ],
    ids=repr,
)
def test_what_is_empty_too_long_or_unprintable_is_not_kept(typed: str, rule: str) -> None:
    with pytest.raises(NotKept, match=rule):
        reason(typed)


def test_nobody_acts_under_the_name_of_the_gateway() -> None:
    assert person(" Noor van 't Hof ") == "Noor van 't Hof"
    for typed in (GATEWAY, " Gateway "):
        with pytest.raises(NotKept, match="van de gateway zelf"):
            person(typed)
    with pytest.raises(NotKept, match="100 tekens"):
        person("x" * 101)
