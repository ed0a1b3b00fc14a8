"""Where the page of a review is: the same address after the server was ended or killed, so that open pages go on."""

import json
import os
import secrets
import socket
from pathlib import Path

from re2tal.common.atomic import atomic_path
from re2tal.common.untrusted import JsonError, parse_json
from re2tal.report.review.errors import ReviewError
from re2tal.report.review.server import HOST, listen

__all__ = ["open_address"]


def open_address(memory: Path, *, port: int | None) -> tuple[socket.socket, str]:
    """A listening socket, and the token that the path of every address begins with.

    Args:
        memory: file with the address of an earlier call, for this user's eyes alone; it is written anew.
        port: to listen at; None: the earlier one if it is free, else any.

    Raises:
        ReviewError: the port is in use.
    """
    known_port, token = _remembered(memory)
    try:
        listening = listen(known_port if port is None else port)
    except ReviewError:
        if port is not None:
            raise
        listening = listen(0)
    with atomic_path(memory) as unfinished:
        opened = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(opened, "w") as file:
            json.dump({"host": HOST, "port": listening.getsockname()[1], "token": token}, file)
    return listening, token


def _remembered(memory: Path) -> tuple[int, str]:
    try:
        value = parse_json(memory.read_bytes())
        port, token = int(value["port"]), value["token"]
        if 0 < port < 2**16 and isinstance(token, str) and len(token) >= 32 and token.isalnum():
            return port, token
    except (OSError, JsonError, KeyError, TypeError, ValueError):
        pass
    return 0, secrets.token_hex(16)
