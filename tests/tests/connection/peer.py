"""The other side of the tests with CPython: a client or a listener that echoes bytes.

peer.py client ADDRESS KEY [DIGEST]     calls, then echoes
peer.py listen FAMILY KEY [DIGEST]      prints its address, takes one call, then echoes
peer.py long ADDRESS KEY                calls, then sends the long form of a header

An address is a path, `@NAME` for an abstract one, or HOST:PORT; a key is hexadecimal or `none`.
The last line says how it ended.
"""

import functools
import os
import struct
import sys
import tempfile
from multiprocessing import AuthenticationError
from multiprocessing import connection


def key_of(text):
    return None if text == "none" else bytes.fromhex(text)


def address_of(text):
    if text.startswith("@"):
        return "\0" + text[1:]
    if text.startswith("/"):
        return text
    host, port = text.rsplit(":", 1)
    return (host, int(port))


def listener_address(family):
    if family == "inet":
        return ("localhost", 0)
    if family == "abstract":
        return "\0mps-peer-%d" % os.getpid()
    return os.path.join(tempfile.mkdtemp(), "socket")


def shown(address):
    if isinstance(address, tuple):
        return "%s:%d" % address
    if isinstance(address, bytes):
        address = os.fsdecode(address)
    return "@" + address[1:] if address.startswith("\0") else address


def echo(conn):
    while True:
        try:
            message = conn.recv_bytes()
        except EOFError:
            return
        conn.send_bytes(message)


def main(role, where, key, digest=None):
    key = key_of(key)
    if digest:
        ask = functools.partial(connection.deliver_challenge, digest_name=digest)
        connection.deliver_challenge = ask
    if role == "listen":
        with connection.Listener(listener_address(where), authkey=key) as listener:
            print(shown(listener.address), flush=True)
            with listener.accept() as conn:
                echo(conn)
        return
    with connection.Client(address_of(where), authkey=key) as conn:
        if role == "long":
            body = b"a long header before a short message"
            os.write(conn.fileno(), struct.pack("!i", -1))
            os.write(conn.fileno(), struct.pack("!Q", len(body)) + body)
            assert conn.recv_bytes() == body
        echo(conn)


try:
    main(*sys.argv[1:])
except AuthenticationError:
    print("AuthenticationError", flush=True)
except OSError as error:
    print(type(error).__name__, flush=True)
else:
    print("ok", flush=True)
