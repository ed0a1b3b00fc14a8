"""The server of a review: who is answered, what can be had, and parts of files."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from review import TOKEN, served

from re2tal.report.review import ReviewError, ReviewSession, listen, open_address
from tests.report.review.review_data import edit, write_clip, write_found


class Client:
    """Sends requests as they are given."""

    def __init__(self, session: ReviewSession, port: int, folder: Path) -> None:
        self.session, self.port, self.folder = session, port, folder

    def ask(self, path: str, *, method: str = "GET", body: Any = None, **headers: str) -> tuple[int, bytes, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.putrequest(method, path, skip_host="Host" in given)
            content = None if body is None else json.dumps(body).encode()
            if content is not None:
                given = {"Content-Type": "application/json", "Content-Length": str(len(content)), **given}
            for name, value in given.items():
                connection.putheader(name, value)
            connection.endheaders(content)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def status(self, path: str, **more: Any) -> int:
        return self.ask(path, **more)[0]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "videos").mkdir()
    (folder / "secret.txt").write_text("secret")
    (folder / "videos" / "unlisted.mp4").write_bytes(b"unlisted")
    files = {"m1": write_clip(folder / "videos" / "m1.mp4"), "gone": folder / "videos" / "gone.mp4"}
    found = write_found(folder / "detections.json", {"m1": [(2.0, 4.0, "walk", 0.9)]})
    with served(files, out=folder / "corrected.json", detections=found) as (address, session):
        yield Client(session, int(address.split(":")[2].split("/")[0]), folder)


PAGE = f"/{TOKEN}/"


def test_the_page_and_its_data_are_there_with_the_token(client: Client) -> None:
    status, body, headers = client.ask(PAGE)
    assert status == 200 and b"<canvas" in body
    assert headers["Cache-Control"] == "no-store" and headers["Referrer-Policy"] == "no-referrer"
    assert (
        headers["X-Content-Type-Options"] == "nosniff"
        and "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    )
    detail = json.loads(client.ask(f"{PAGE}video/0")[1])
    assert detail["segments"]["d0"]["label"] == "walk" and detail["fps"] == pytest.approx(10)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        f"/{TOKEN[:-1]}1/",
        f"/{TOKEN}",
        "/video/0",
        "/media/0",
        f"/x/../{TOKEN}/",
        f"//{TOKEN}/",
        "/%30/video/0",
    ],
)
def test_without_the_token_nothing_is_answered(client: Client, path: str) -> None:
    status, body, _ = client.ask(path or "*")
    assert status == 403 and b"canvas" not in body and b"walk" not in body


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", ""]
)
def test_another_name_for_this_machine_is_refused(client: Client, host: str) -> None:
    """DNS rebinding: a page elsewhere points its own name here; its requests tell that name."""
    assert client.status(PAGE, Host=host.format(port=client.port)) == 403


def test_the_names_of_this_machine_are_answered(client: Client) -> None:
    assert client.status(PAGE, Host=f"localhost:{client.port}") == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_pages_of_other_origins_are_refused(client: Client, origin: str) -> None:
    body = {"edits": [], "annotator": "Ada"}
    assert client.status(f"{PAGE}edits", method="POST", body=body, Origin=origin) == 403
    assert client.status(f"{PAGE}edits", method="POST", body=body, Origin=f"http://127.0.0.1:{client.port}") == 200
    # What a form of another page could send without asking.
    assert client.status(f"{PAGE}edits", method="POST", body=body, Content_Type="text/plain") == 403


@pytest.mark.parametrize(
    "path",
    [
        "media/2", "media/-1", "media/99999999999999999999", "media/m1", "media/..%2f..%2fsecret.txt",
        "media/0/../../secret.txt", "media/%2e%2e/secret.txt", "media/0%00", "secret.txt", "videos/unlisted.mp4",
        "media/unlisted.mp4", "video/7", "media/", "media/1",
    ],
)  # fmt: skip
def test_no_path_leads_to_another_file(client: Client, path: str) -> None:
    status, body, _ = client.ask(PAGE + path)
    assert status == 404 and b"secret" not in body and b"unlisted" not in body


def test_parts_of_a_file_can_be_had(client: Client) -> None:
    content = (client.folder / "videos" / "m1.mp4").read_bytes()
    size = len(content)
    status, body, headers = client.ask(f"{PAGE}media/0")
    assert (status, body) == (200, content) and headers["Accept-Ranges"] == "bytes"
    for asked, part in (
        ("0-99", slice(0, 100)),
        (f"{size - 10}-", slice(size - 10, size)),
        ("-5", slice(size - 5, size)),
    ):
        status, body, headers = client.ask(f"{PAGE}media/0", Range=f"bytes={asked}")
        assert (status, body) == (206, content[part])
        assert headers["Content-Range"] == f"bytes {part.start}-{part.stop - 1}/{size}"
    assert client.status(f"{PAGE}media/0", Range=f"bytes={size + 1}-") == 416


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "x",
        {"edits": []},
        {"edits": {}, "annotator": "Ada"},
        {"edits": [], "annotator": ""},
        {"edits": [], "annotator": "x" * 999},
    ],
)
def test_requests_that_are_no_edits_are_refused(client: Client, body: Any) -> None:
    assert client.status(f"{PAGE}edits", method="POST", body=body) == 400


def test_an_edit_is_on_the_disk_when_it_is_answered(client: Client) -> None:
    key = "key-on-disk"
    body = {"edits": [edit(client.session, "m1", looks=[(1, 2, True)], key=key)], "annotator": "Ada", "after": 0}
    status, answer, _ = client.ask(f"{PAGE}edits", method="POST", body=body)
    assert status == 200 and json.loads(answer)["results"] == [{"key": key, "ok": True}]
    assert key in (client.folder / "corrected.journal.jsonl").read_text()
    news = json.loads(client.ask(f"{PAGE}changes?after=0")[1])
    assert [entry["key"] for entry in news["changes"]] == [key] and news["n"] == 1
    assert json.loads(client.ask(f"{PAGE}changes?after={news['n']}")[1])["changes"] == []


def test_a_port_in_use_is_told() -> None:
    with listen(0) as first, pytest.raises(ReviewError, match=r"port \d+ cannot be used .*give another --port"):
        listen(first.getsockname()[1])


def test_only_this_machine_can_reach_it() -> None:
    with listen(0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"


def test_the_address_stays_the_same_and_is_for_one_user(tmp_path: Path) -> None:
    memory = tmp_path / "corrected.address"
    first, token = open_address(memory, port=None)
    port = first.getsockname()[1]
    assert memory.stat().st_mode & 0o077 == 0 and len(token) >= 32
    other, same = open_address(memory, port=None)  # the port is taken
    assert other.getsockname()[1] != port and same == token
    other.close()
    first.close()
    port = json.loads(memory.read_text())["port"]
    with open_address(memory, port=None)[0] as again:
        assert again.getsockname()[1] == port
    memory.write_text('{"port": 70000, "token": "short"}')
    listening, fresh = open_address(memory, port=None)
    listening.close()
    assert fresh not in (token, "short")
