"""No secret of an address is left in a text, and all else in the text is left."""

import json
import logging
import re
import shlex
import string
from urllib.parse import quote

import pytest
import yaml
from hypothesis import assume, example, given
from hypothesis import strategies as st

from optsweep.system.redaction import RedactingFormatter, redact, redacted

LETTERS = string.ascii_letters + string.digits
words = st.text(LETTERS + "-_", min_size=1, max_size=12)
hosts = st.one_of(
    words.map(lambda word: f"{word}.example"),
    st.sampled_from(["localhost", "10.0.0.1", "[::1]", "[fe80::1%25eth0]"]),
)
ports = st.one_of(st.just(""), st.integers(1, 65535).map(":{}".format))
paths = st.lists(words, max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts))
queries = st.sampled_from(["", "?u=me@a.b", "?timeout=5&host=me@a.b", "?q=a:b@c", "?"])
schemes = st.sampled_from(["http", "https", "postgresql", "mysql+pymysql", "mssql+pyodbc", "s3"])
places = st.tuples(hosts, ports, paths, queries).map("".join)
mails = st.sampled_from(["me@a.b", "git@github.com:x/y", "lr=1e-3", "12:30", "a=b", ""])
printable = st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=["Cc"])


def is_unambiguous(password: str) -> bool:
    """Whether a person could say where an address with this password ends."""
    as_port = re.match(r"\d{0,5}([^\w%+=&$!~*@-]|$)", password)
    query = re.search(r"@.*[?#][\w.-]*=", password)
    known = any(part in password for part in ("://", "***", "x-oauth-basic"))
    return not as_port and not query and not known


passwords = st.text(printable, min_size=6, max_size=20).filter(is_unambiguous)
plain_passwords = st.text(LETTERS + "@:%+=&!~*-_.", min_size=6, max_size=20).filter(is_unambiguous)


@given(schemes, words, passwords, places, st.sampled_from(["", "tracking.uri=", "+dataset.x="]))
@example("http", "ann", "p@s s/w:rd", "[::1]:5000/x?u=me@a.b", "")
@example("http", "me@a.b", "p/w@rd?", "host", "")
def test_a_whole_address_is_shown_without_its_password(
    scheme: str, user: str, password: str, place: str, before: str
) -> None:
    shown = redacted(f"{before}{scheme}://{user}:{password}@{place}")
    assert shown == f"{before}{scheme}://{user}:***@{place}"
    assert redacted(shown) == redact(shown) == shown


@given(schemes, words, plain_passwords, places, mails, mails)
def test_an_address_in_a_text_is_shown_without_its_password(
    scheme: str, user: str, password: str, place: str, before: str, after: str
) -> None:
    text = f"{before} {scheme}://{user}:{{}}@{place} {after}"
    assert redact(text.format(password)) == text.format("***")
    assert redact(text.format("***")) == text.format("***")


@given(st.lists(st.tuples(schemes, words, plain_passwords, places), min_size=2, max_size=3))
def test_several_addresses_in_one_text_are_each_shown(
    addresses: list[tuple[str, str, str, str]],
) -> None:
    for separator in (",", " ", "\n", "', '"):
        texts, shown = (
            separator.join(
                f"{scheme}://{user}:{secret}@{place}" for scheme, user, secret, place in one
            )
            for one in (addresses, [(s, user, "***", place) for s, user, _, place in addresses])
        )
        assert redact(texts) == shown


@given(schemes, words, passwords, hosts)
def test_quoted_texts_keep_no_password(scheme: str, user: str, password: str, host: str) -> None:
    secret = f"{scheme}://{user}:{password}@{host}"
    assume(password.isascii() and not set(password) & set("'\"@\\"))
    for quoted in (json.dumps([secret]), yaml.dump([secret], width=10**6), shlex.quote(secret)):
        shown = redact(quoted)
        assert f"{user}:***@{host}" in shown
        assert redact(shown) == shown
        assert quoted.partition("://")[0] == shown.partition("://")[0]
        assert quoted[-2:] == shown[-2:]


NAMES = ["password", "token", "access_token", "api_key", "sig", "X-Amz-Signature", "sslpassword"]


@given(st.sampled_from(NAMES), st.text(LETTERS + "-_~%+/=", min_size=6), places, mails)
def test_a_parameter_that_is_a_secret_is_not_shown(
    name: str, secret: str, place: str, after: str
) -> None:
    joint = "&" if "?" in place else "?"
    for text in (
        f"https://{place}{joint}{name}={{}}",
        f"https://{place}{joint}{name}={{}}&expires=5 {after}",
        f"url: /{joint}{name}={{}} (Caused by {after})",
    ):
        assert redact(text.format(secret)) == text.format("***")
        assert redact(text.format("***")) == text.format("***")


@given(st.text(printable.filter(lambda sign: sign not in ";{}&"), min_size=6).map(str.strip))
def test_a_password_of_odbc_is_not_shown_however_it_is_encoded(secret: str) -> None:
    assume(len(secret) >= 6 and "***" not in secret)
    driver = "DRIVER={ODBC Driver 18};SERVER=db;UID=sa;PWD=%s;Encrypt=yes"
    address = "mssql+pyodbc:///?odbc_connect="
    for encoded in (str, quote, lambda text: quote(quote(text))):
        assert redacted(address + encoded(driver % secret)) in {
            address + encoded(driver).replace(encoded("%s"), "***") for encoded in (encoded,)
        }


@pytest.mark.parametrize("braces", ["{a;b c}", "{a}};b}"])
def test_a_password_in_braces_ends_with_them(braces: str) -> None:
    text = "mssql+pyodbc:///?odbc_connect=UID=sa;PWD=%s;SERVER=db"
    assert redact(text % braces) == text % "***"
    assert redact(quote(text % braces)) == quote(text).replace("%25s", "***")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgresql://ann:secret@host:5432/db", "postgresql://ann:***@host:5432/db"),
        ("http://ann:secret@host:5000", "http://ann:***@host:5000"),
        ("https://TOKEN@host/x", "https://***@host/x"),
        ("https://TOKEN:@host", "https://***:@host"),
        ("https://TOKEN:x-oauth-basic@host", "https://***:***@host"),
        ("git+https://TOKEN@github.com/x@main", "git+https://***@github.com/x@main"),
        ("http://:secret@host", "http://:***@host"),
        (
            "see http://u:secret@host: no answer; ask me@a.b",
            "see http://u:***@host: no answer; ask me@a.b",
        ),
        ("(http://h/?token=secret), then", "(http://h/?token=***), then"),
        ("a=http://h?token=aa,http://h?token=bb", "a=http://h?token=***,http://h?token=***"),
        ("postgresql://ann:12/ab@host/db", "postgresql://ann:***@host/db"),
        ("jdbc:sqlserver://h;user=sa;password=secret", "jdbc:sqlserver://h;user=sa;password=***"),
        ("http://u:${oc.env:A}b@host", "http://u:***@host"),
        ("<a href='/x?a=1&amp;token=secret'>", "<a href='/x?a=1&amp;token=***'>"),
        ("http://ann:pw://x@host", "http://ann:***@host"),
    ],
)
def test_known_kinds_of_secrets(given: str, shown: str) -> None:
    assert redact(given) == shown
    assert redact(shown) == shown


@given(schemes, places, mails, mails)
def test_an_address_without_a_secret_is_left_as_it_is(
    scheme: str, place: str, before: str, after: str
) -> None:
    for text in (f"{before} {scheme}://{place} {after}", f"'{scheme}://{place}',{after}"):
        assert redact(text) == text
        assert redacted(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lr=1e-3",
        "me@a.b",
        "git@github.com:x/y",
        "ssh://git@github.com/x/y",
        "abfss://container@account.dfs.core.windows.net/path",
        "postgresql://mlflow@localhost/mlflow",
        "http://host:5000, or ask me@a.b",
        "http://host:5000. Ask me@a.b",
        "http://localhost:5000/#/experiments/1?o=me@a.b",
        "https://host:8443/artifacts/@me/x",
        "sqlite:////tmp/a.db",
        "sqlite:////tmp/a@b:c.db",
        "http://host:5000",
        'uri: ${oc.env:MLFLOW_TRACKING_URI,"sqlite:///${project_root:}/mlflow.db"} # me@a.b',
        "http://${oc.env:USER}:${oc.env:PASSWORD}@${oc.env:HOST}:5000/x",
        "http://${oc.env:HOST}:5000/me@x",
        "https://h/x?token=${oc.env:TOKEN}&y=1",
        "model.tokens=5;monkey=1",
        "lr=interval(1e-5,1)",
    ],
)
def test_what_holds_no_secret_is_left_as_it_is(text: str) -> None:
    assert redact(text) == text
    assert redacted(text) == text


def test_values_in_lists_and_mappings_are_shown_without_secrets_and_keep_their_types() -> None:
    given = {
        "a": ["http://u:p w@h", 1, None],
        "b": ("x", {"c": "https://T@h"}),
        "d": 1.5,
        "e": True,
    }
    shown = {
        "a": ["http://u:***@h", 1, None],
        "b": ("x", {"c": "https://***@h"}),
        "d": 1.5,
        "e": True,
    }
    assert redacted(given) == shown


def test_a_long_text_takes_no_time() -> None:
    text = "a" * 200_000 + "://" + "b:" * 50_000 + "?" * 50_000 + "@" * 1000 + ";" * 50_000
    assert redact(text).startswith("a")


def test_a_log_shows_no_secret_of_a_message_or_of_a_traceback() -> None:
    formatter = RedactingFormatter("%(message)s")
    address = "https://me:secret@host"
    try:
        raise ValueError(address)
    except ValueError as error:
        trace = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", 1, "f", 1, "at %s", (address,), trace)
    assert "me:secret" not in formatter.format(record)
    assert formatter.format(record).startswith("at https://me:***@host\nTraceback")


pieces = ["://", "http://", "a", "b1", ":", "@", "/", "?", "&", "=", ";", "token=", "%3B", "PWD%3D"]


@given(st.lists(st.sampled_from([*pieces, " ", "'", ",", "***", "{", "}", "[", "]", "\n"])))
def test_what_was_shown_once_is_shown_the_same_again(parts: list[str]) -> None:
    text = "".join(parts)
    assert redact(redact(text)) == redact(text)
    assert redacted(redacted(text)) == redacted(text)
    assert redact(redacted(text)) == redacted(text)
