"""What comes through the door of the web demo, of Gradio's many routes, and what its answers carry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
from starlette.testclient import TestClient

from anyx.media import Image
from anyx.serving import web
from anyx.serving.web_door import Door, elsewhere
from anyx.serving.web_examples import sample


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    options = web.Options(requests=None)
    with web.application(tiny.anyx(), options) as app, TestClient(app, base_url="http://localhost") as client:
        client.folder = app.folder  # type: ignore[attr-defined]
        yield client


def test_the_page_carries_a_policy_and_nothing_of_elsewhere(door: TestClient) -> None:
    answer = door.get("/")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    nonce = policy.partition("'nonce-")[2].partition("'")[0]
    assert answer.text.count("<script") == answer.text.count(f'<script nonce="{nonce}"') > 0
    assert nonce not in door.get("/").headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    cookie = TestClient(door.app, base_url="http://localhost").get("/").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/gradio_api/vibe-code",
        "/gradio_api/openapi.json",
        "/gradio_api/call/v2/send",
        "/gradio_api/custom_component/x/client/component/index.js",
        "/monitoring/summary",
        "/login_check",
        "/docs",
    ],
)
def test_what_the_page_does_not_need_is_not_there(door: TestClient, path: str) -> None:
    assert door.get(path).status_code == 404
    assert door.delete("/").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "http://127.0.0.1:1/a.png",
        "README.md",
        "{folder}/../../etc/passwd",
        "{folder}/%2e%2e/%2e%2e/etc/passwd",
        str(Path(__file__)),
    ],
)
def test_files_are_of_the_demo_s_own_folder(door: TestClient, path: str) -> None:
    folder = door.folder  # type: ignore[attr-defined]
    assert door.get(f"/gradio_api/file={path.format(folder=folder)}").status_code in (403, 404)
    own = sample(Image).save(folder / "own.png")
    answer = door.get(f"/gradio_api/file={own}")
    assert (answer.status_code, answer.content) == (200, own.read_bytes())
    assert "sandbox" in answer.headers["content-security-policy"]
    (folder / "page.html").write_text("<script>alert(1)</script>")
    assert "attachment" in door.get(f"/gradio_api/file={folder / 'page.html'}").headers["content-disposition"]
    (folder / "link").unlink(missing_ok=True)
    (folder / "link").symlink_to("/etc/passwd")
    assert door.get(f"/gradio_api/file={folder / 'link'}").status_code == 403


def test_other_names_of_this_host_are_refused(door: TestClient) -> None:
    for host in ("evil.example", "evil.example:7860", "localhost.evil.example", "", "[::2]:80"):
        assert door.get("/", headers={"host": host}).status_code == 421, host
    for host in ("localhost:7860", "127.0.0.1", "[::1]:80", "LOCALHOST"):
        assert door.get("/", headers={"host": host}).status_code == 200, host


def test_a_body_that_names_an_address_or_is_too_long_is_refused(door: TestClient) -> None:
    file = {"path": "http://127.0.0.1:1/a.png", "meta": {"_type": "gradio.FileData"}}
    body = {"data": [{"text": "", "files": [file]}], "fn_index": 1, "session_hash": "a"}
    assert door.post("/gradio_api/queue/join", json=body).status_code == 400
    assert door.post("/gradio_api/queue/join", content=b"{" * 100_000).status_code == 400
    for depth in range(100, 1200, 100):
        deep = b'{"data": ' + b"[" * depth + b"]" * depth + b', "fn_index": 99}'
        assert door.post("/gradio_api/queue/join", content=deep).status_code == 400
    assert door.post("/gradio_api/queue/join", content=b" " * (1 << 21)).status_code == 413


NAMES = ("localhost", "::1", "demo.example.org")


def file(url: object, path: object = "/tmp/a.png") -> dict[str, object]:
    return {"data": [{"files": [{"path": path, "url": url}]}]}


@pytest.mark.parametrize(
    "url",
    [
        "ftp://localhost/gradio_api/file=/a",
        "javascript://localhost/gradio_api/file=/a",
        "http://evil/gradio_api/file=/x",
        "https://evil.example/gradio_api/file=/x",
        "http://localhost.evil.example/gradio_api/file=/x",
        "http://localhost@evil/gradio_api/file=/x",
        "http://evil@localhost/gradio_api/file=/x",
        "http://localhost:80@evil/gradio_api/file=/x",
        "http://localhost\\@evil/gradio_api/file=/x",
        "http://localhost:many/gradio_api/file=/x",
        "http://evil/?http://localhost/gradio_api/file=/x",
        "http://evil/#http://localhost/gradio_api/file=/x",
        "http://localhost/other?/gradio_api/file=/x",
        "http://localhost/gradio_api/proxy=http://evil/",
        "//evil/gradio_api/file=/x",
        "\\\\evil/gradio_api/file=/x",
        " http://evil/gradio_api/file=/x",
        "http:\n//evil/gradio_api/file=/x",
        "http:/gradio_api/file=/x",
        "http:///gradio_api/file=/x",
        "http://[::2]/gradio_api/file=/x",
        "http://[::1/gradio_api/file=/x",
        "http://localhost%2eevil/gradio_api/file=/x",
        "http://lоcalhost/gradio_api/file=/x",  # noqa: RUF001 a Cyrillic letter
        "/etc/passwd",
        ["http://localhost/gradio_api/file=/x"],
        {"path": "/a"},
        5,
    ],
)
def test_addresses_of_elsewhere(url: object) -> None:
    assert elsewhere(file(url), NAMES)
    assert elsewhere(file(None, url), NAMES) == (not isinstance(url, str) or "://" in url)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:7860/gradio_api/file=/tmp/a.png",
        "https://localhost/gradio_api/file=/tmp/a b é #?.png",
        "HTTPS://Demo.Example.org:443/gradio_api/file=/tmp/a.png",
        "http://[::1]:7860/gradio_api/file=/tmp/a.png",
        "/gradio_api/file=/tmp/a.png",
        "",
        None,
    ],
)
def test_addresses_of_this_page(url: str | None) -> None:
    assert not elsewhere(file(url), NAMES)


@pytest.mark.parametrize("number", [99, -1, 0.5, "0", None, [0], {}])
def test_a_function_that_the_page_has_not_is_refused(door: TestClient, number: object) -> None:
    body = {"data": [], "fn_index": number, "session_hash": "a"}
    answer = door.post("/gradio_api/queue/join", json=body)
    assert (answer.status_code, answer.content) == (400, b"the page has no such function\n")


@pytest.mark.parametrize("session", [None, "", 5, "a b", "x" * 65, ["a"]])
def test_a_call_of_no_page_is_refused(door: TestClient, session: object) -> None:
    body = {"data": [], "fn_index": 1, "session_hash": session}
    answer = door.post("/gradio_api/queue/join", json=body)
    assert (answer.status_code, answer.content) == (400, b"a page says which one it is\n")


def test_what_names_no_file() -> None:
    assert not elsewhere({"text": "see http://example.com"}, NAMES)
    assert not elsewhere(None, NAMES)


def test_half_a_letter_is_refused(door: TestClient) -> None:
    """A session of such a name had Gradio fail to count its sessions after every later reply."""
    body = b'{"data": [], "fn_index": 1, "session_hash": "\\ud800"}'
    answer = door.post("/gradio_api/queue/join", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.content) == (400, b"it is no JSON of whole letters\n")


def test_a_form_without_files_is_refused(door: TestClient) -> None:
    answer = door.post("/gradio_api/upload", data={"files": "words"}, files={"other": ("", b"")})
    assert answer.status_code in (400, 422), answer.text
    form = b'--b\r\nContent-Disposition: form-data; name="files"\r\n\r\nwords\r\n--b--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = door.post("/gradio_api/upload", content=form, headers=headers)
    assert (answer.status_code, answer.content) == (400, b"an upload is a form of files\n")
    assert door.post("/gradio_api/upload", files={"files": ("a.png", b"x")}).status_code == 200


def test_files_are_sent_through_a_proxy_that_speaks_tls(door: TestClient) -> None:
    """Gradio's page then names its files by https, and by the name that the proxy was asked by."""
    proxied = {"x-forwarded-proto": "https"}
    root = door.get("/config", headers=proxied).json()["root"]
    assert root == "https://localhost"
    sent = door.post("/gradio_api/upload", files={"files": ("a.png", b"x")}, headers=proxied)
    (path,) = sent.json()
    name = {"path": path, "url": f"{root}/gradio_api/file={path}", "meta": {"_type": "gradio.FileData"}}
    body = {"data": [{"text": "", "files": [name]}], "fn_index": 1, "session_hash": "a"}
    taken = door.post("/gradio_api/queue/join", json=body, headers=proxied)
    assert b"files are uploaded here" not in taken.content
    name["url"] = name["url"].replace("localhost", "evil")
    assert door.post("/gradio_api/queue/join", json=body, headers=proxied).content == b"files are uploaded here\n"
    for address in ("http://evil/gradio_api/file=/x", f"{root}/gradio_api/file={path}"):
        name |= {"path": address, "url": None}
        assert door.post("/gradio_api/queue/join", json=body).content == b"files are uploaded here\n", address


def test_where_any_name_is_answered_to_it_is_the_one_that_was_asked(door: TestClient) -> None:
    app, body = (
        door.app,
        {"data": [{"path": "/a", "url": "http://demo.lan:80/gradio_api/file=/a"}], "fn_index": 1, "session_hash": "a"},
    )
    free = TestClient(Door(app.app, hosts=(), folder=app.folder, functions=(1,)), base_url="http://demo.lan")  # type: ignore[attr-defined]
    refused = b"files are uploaded here\n"
    assert free.post("/gradio_api/queue/join", json=body).content != refused
    assert free.post("/gradio_api/queue/join", json=body, headers={"host": "other.lan"}).content == refused
    forwarded = {"host": "inner", "x-forwarded-host": "demo.lan, inner"}
    assert free.post("/gradio_api/queue/join", json=body, headers=forwarded).content != refused


def test_an_upload_that_is_too_long_is_refused() -> None:
    from anyx.faults import Limits
    from anyx.serving.intake import Bounds

    options = web.Options(bounds=Bounds(limits=Limits(bytes=1000)))
    with web.application(tiny.anyx(), options) as app, TestClient(app, base_url="http://localhost") as client:
        long = client.post("/gradio_api/upload", files={"files": ("a.png", b"0" * 5000)})
        assert long.status_code == 413
        assert client.post("/gradio_api/upload", files={"files": ("a.png", b"0" * 500)}).status_code == 200


def test_uploads_never_fill_the_disk() -> None:
    with web.application(tiny.anyx(), web.Options()) as app, TestClient(app, base_url="http://localhost") as client:
        app.room = 10_000 + sum(one.stat().st_size for one in app.folder.rglob("*") if one.is_file())
        sent = [client.post("/gradio_api/upload", files={"files": ("a.png", bytes([n]) * 4000)}) for n in range(4)]
        assert [one.status_code for one in sent] == [200, 200, 507, 507]
        assert app.coming == 0
        chunked = client.post("/gradio_api/upload", content=iter([b"0" * 9]), headers={"content-type": "text/plain"})
        assert chunked.status_code == 411


def test_the_folder_is_gone_afterwards() -> None:
    with web.application(tiny.anyx(), web.Options()) as app:
        assert app.folder.is_dir()
        assert app.folder.stat().st_mode & 0o077 == 0
    assert not app.folder.exists()


def test_the_next_free_port_is_taken() -> None:
    with web.bound("127.0.0.1", 0) as first:
        number = first.getsockname()[1]
        with web.bound("127.0.0.1", number) as second:
            assert number < second.getsockname()[1] < number + web.TRIED
    with pytest.raises(ValueError, match=r"^--host 203\.0\.113\.1 --port 80: cannot listen there"):
        web.bound("203.0.113.1", 80)
