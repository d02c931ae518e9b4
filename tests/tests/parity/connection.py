"""What CPython's connections do, a line for each thing that is tried; connection.rs the same."""

import os
import socket
import struct
import sys
import tempfile
import threading
import time
from multiprocessing import connection
from multiprocessing.connection import Client, Connection, Listener, Pipe, wait


def say(name, outcome):
    print(f"{name}: {outcome}", flush=True)


def outcome(call):
    try:
        return call()
    except Exception as error:
        return type(error).__name__


def tell(name, call):
    say(name, outcome(call))


def text(message):
    return bytes(message).decode() or "nothing"


def messages():
    a, b = Pipe()
    a.send_bytes(b"hello")
    tell("bytes", lambda: text(b.recv_bytes()))
    a.send_bytes(b"")
    tell("poll_at_an_empty_message", lambda: b.poll())
    tell("an_empty_message", lambda: text(b.recv_bytes()))
    tell("poll_at_nothing", lambda: b.poll())
    tell("poll_for_a_negative_time", lambda: b.poll(-1))
    a.send_bytes(b"0123456789")
    buffer = bytearray(b"." * 15)
    tell("into_a_buffer", lambda: f"{b.recv_bytes_into(buffer, 3)} {text(buffer)}")
    a.send_bytes(b"0123456789")
    try:
        b.recv_bytes_into(bytearray(5))
    except connection.BufferTooShort as error:
        say("into_a_short_buffer", text(error.args[0]))
    tell("nothing_is_left_of_it", lambda: b.poll())
    tell("into_beyond_a_buffer", lambda: b.recv_bytes_into(bytearray(3), 4))
    for name, args in [
        ("sent_from_an_offset", (7,)),
        ("sent_from_an_offset_so_many", (7, 2)),
        ("sent_from_the_end", (10,)),
        ("sent_from_beyond_the_end", (11,)),
        ("sent_too_many", (5, 6)),
        ("sent_too_many_from_the_end", (10, 1)),
    ]:
        def send():
            a.send_bytes(b"0123456789", *args)
            return text(b.recv_bytes())
        tell(name, send)


def directions():
    reader, writer = Pipe(duplex=False)
    say("one_way", f"{reader.readable} {reader.writable} {writer.readable} {writer.writable}")
    tell("send_to_a_reader", lambda: reader.send_bytes(b"x"))
    tell("receive_from_a_writer", lambda: writer.recv_bytes())
    tell("poll_of_a_writer", lambda: writer.poll())
    writer.send_bytes(b"too long")
    tell("longer_than_allowed_one_way", lambda: reader.recv_bytes(5))
    say("closed_by_it", str(reader.closed))
    a, b = Pipe()
    a.send_bytes(b"too long")
    tell("as_long_as_allowed", lambda: [a.send_bytes(b"right"), "sent"][1])
    tell("longer_than_allowed", lambda: b.recv_bytes(7))
    say("unreadable_by_it", f"{b.readable} {b.writable} {b.closed}")
    tell("received_after_it", lambda: b.recv_bytes())
    tell("sent_after_it", lambda: [b.send_bytes(b"back"), text(a.recv_bytes())][1])


def ends():
    a, b = Pipe()
    b.send_bytes(b"last")
    b.close()
    tell("poll_at_the_last_message", lambda: a.poll())
    tell("the_last_message", lambda: text(a.recv_bytes()))
    tell("poll_at_the_end", lambda: a.poll())
    tell("received_at_the_end", lambda: a.recv_bytes())
    tell("received_at_the_end_again", lambda: a.recv_bytes())
    tell("sent_to_nobody", lambda: a.send_bytes(b"x"))
    a, b = Pipe()
    os.write(b.fileno(), struct.pack("!i", 100) + b"a part")
    b.close()
    tell("the_end_in_a_message", lambda: a.recv_bytes())
    a, b = Pipe()
    os.write(b.fileno(), b"\0\0")
    b.close()
    tell("the_end_in_a_header", lambda: a.recv_bytes())
    a, b = Pipe()
    a.send_bytes(b"never read")
    b.close()
    tell("received_from_who_left_something_unread", lambda: a.recv_bytes())
    a, b = Pipe()
    os.write(b.fileno(), struct.pack("!i", -5))
    tell("a_length_below_zero", lambda: text(a.recv_bytes()))
    a, b = Pipe()
    os.write(b.fileno(), struct.pack("!iQ", -1, 5) + b"short")
    tell("the_long_form_of_a_short_length", lambda: text(a.recv_bytes()))


def closing():
    a, b = Pipe()
    a.close()
    tell("closed_twice", lambda: a.close())
    say("closed", str(a.closed))
    for name, call in [
        ("send", lambda: a.send_bytes(b"")),
        ("recv", lambda: a.recv_bytes()),
        ("poll", lambda: a.poll()),
        ("fileno", lambda: a.fileno()),
        ("value", lambda: a.recv()),
    ]:
        tell(f"{name}_when_closed", call)


def waiting():
    a, b = Pipe()
    c, d = Pipe()
    s, t = socket.socketpair()
    objects = [a, c, s.fileno()]
    places = lambda ready: sorted(objects.index(one) for one in ready)
    tell("wait_for_nothing", lambda: places(wait(objects, 0)))
    tell("wait_for_a_negative_time", lambda: places(wait(objects, -1)))
    d.send_bytes(b"x")
    tell("wait_for_one", lambda: places(wait(objects)))
    t.send(b"x")
    b.close()
    tell("wait_for_all", lambda: places(wait(objects, 5)))
    start = time.monotonic()
    wait([b if not b.closed else t], 0.1)
    tell("wait_as_long_as_told", lambda: time.monotonic() - start >= 0.1)


def served(listener, key):
    """What both sides come to, with the client's key."""
    outcomes = {}

    def call():
        outcomes["client"] = outcome(lambda: Client(listener.address, authkey=key).recv_bytes())

    thread = threading.Thread(target=call)
    thread.start()

    def serve():
        conn = listener.accept()
        conn.send_bytes(b"hi")
        conn.close()
        return "served"

    outcomes["server"] = outcome(serve)
    thread.join()
    client = outcomes["client"]
    return f"{outcomes['server']} {text(client) if isinstance(client, bytes) else client}"


def listening():
    directory = tempfile.mkdtemp()
    path = os.path.join(directory, "socket")
    with Listener(path, authkey=b"key") as listener:
        say("last_accepted_at_first", str(listener.last_accepted))
        say("the_right_key", served(listener, b"key"))
        say("last_accepted", listener.last_accepted or "unnamed")
        say("the_wrong_key", served(listener, b"other"))
        say("the_empty_key_for_another", served(listener, b""))
        say("the_right_key_after_it", served(listener, b"key"))
        tell("bound_twice", lambda: Listener(path))
    say("the_file_is_gone", str(not os.path.exists(path)))
    tell("accepted_when_closed", lambda: listener.accept())
    tell("called_when_closed", lambda: Client(path))
    left = socket.socket(socket.AF_UNIX)
    left.bind(path)
    left.close()
    tell("called_when_nobody_listens", lambda: Client(path))
    with Listener(("localhost", 0)) as listener:
        say("without_a_key_by_tcp", served(listener, None))
    with Listener("\0mps-parity-%d" % os.getpid(), authkey=b"key") as listener:
        say("by_an_abstract_name", served(listener, b"key"))
    with Listener() as listener:
        mode = os.stat(os.path.dirname(listener.address)).st_mode & 0o777
        say("the_mode_of_its_own_directory", f"{mode:o}")
    long = os.path.join(directory, "x" * 120)
    os.mkdir(long)
    tell("a_long_path", lambda: Listener(os.path.join(long, "socket")) and "works")


def silence():
    """There is no time limit: what holds up a listener is a client that says nothing."""
    with Listener(authkey=b"key") as listener:
        silent = socket.socket(socket.AF_UNIX)
        silent.connect(listener.address)
        thread = threading.Thread(target=lambda: outcome(listener.accept), daemon=True)
        thread.start()
        thread.join(1.0)
        say("accept_of_a_silent_client", "hangs" if thread.is_alive() else "ends")
        silent.close()
        thread.join()


messages()
directions()
ends()
closing()
waiting()
listening()
silence()
sys.exit(0)
