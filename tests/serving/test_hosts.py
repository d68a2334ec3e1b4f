"""The names that a server answers to, by where it listens; and what a Host header says."""

import pytest

from anyx.serving.hosts import LOOPBACK, answers, name_of, names


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:80", "localhost"),
        ("[::1]:7860", "::1"),
        ("[::1]", "::1"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("", ""),
        ("[", ""),
    ],
)
def test_a_name_has_no_port_and_no_brackets(header: str, name: str) -> None:
    assert name_of(header) == name


@pytest.mark.parametrize(
    ("host", "further", "known"),
    [
        ("127.0.0.1", (), LOOPBACK),
        ("[::1]", (), LOOPBACK),
        ("127.0.0.1", ("Models.example.org",), (*LOOPBACK, "models.example.org")),
        ("192.0.2.7", (), (*LOOPBACK, "192.0.2.7")),
        ("2001:db8::7", (), (*LOOPBACK, "2001:db8::7")),
        ("0.0.0.0", (), ()),
        ("::", ("a.example",), (*LOOPBACK, "a.example")),
    ],
)
def test_names_follow_from_where_it_listens(host: str, further: tuple[str, ...], known: tuple[str, ...]) -> None:
    assert names(host, further) == known


def test_others_are_refused_and_an_open_server_answers_to_all() -> None:
    assert answers(b"localhost:80", LOOPBACK)
    assert not answers(b"localhost.evil.example", LOOPBACK)
    assert not answers(b"", LOOPBACK)
    assert answers(b"evil.example", ())
    assert not answers(b"\xff\xfe", LOOPBACK)
