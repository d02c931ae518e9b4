"""What CPython does with values, arrays, segments and lists that processes share."""

import ctypes
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from multiprocessing import sharedctypes
from multiprocessing.shared_memory import ShareableList, SharedMemory

context = multiprocessing.get_context("fork")


def say(name, outcome):
    print(f"{name}: {outcome}", flush=True)


def error_of(action):
    try:
        action()
    except Exception as error:
        return type(error).__name__
    return "no error"


def run(target, *args):
    process = context.Process(target=target, args=args)
    process.start()
    process.join()


# -- Value

CODES = [("i", 4343, 24234), ("d", 3.625, -4.25), ("h", -232, 234), ("q", 2**33, 2**34)]


def set_value(value, to):
    value.value = to


def test_value():
    for raw in (False, True):
        name = "test_rawvalue" if raw else "test_value"
        for code, first, second in CODES:
            value = context.RawValue(code, first) if raw else context.Value(code, first)
            before = value.value
            run(set_value, value, second)
            say(f"{name}.{code}", f"{before} {value.value}")
        zero = context.RawValue("i") if raw else context.Value("i")
        say(f"{name}.zeroed", zero.value)


def test_getobj_getlock():
    value = context.Value("i", 5)
    say("test_getobj_getlock.own", f"{value.get_obj().value} {value.get_lock().acquire()}")
    say("test_getobj_getlock.again", value.acquire(timeout=0.01))
    value.release()
    value.release()
    say("test_getobj_getlock.over", error_of(value.release))
    lock = context.Lock()
    other = context.Value("i", 5, lock=lock)
    say("test_getobj_getlock.given", other.get_lock() is lock)
    lock.acquire()
    say("test_getobj_getlock.held", other.acquire(False))
    lock.release()


def test_wrap_around():
    value = context.Value("i", 2**31 - 1)
    value.value += 1
    say("wrap_around", value.value)


def die_with_the_lock(value):
    value.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def test_killed_owner():
    value = context.Value("i", 1)
    run(die_with_the_lock, value)
    say("killed_owner", value.acquire(timeout=0.5))


# -- Array

SEQUENCE = [680, 626, 934, 821, 150, 233, 548, 982, 714, 831]


def sum_up(array):
    for at in range(1, len(array)):
        array[at] += array[at - 1]


def test_array():
    for raw in (False, True):
        name = "test_rawarray" if raw else "test_array"
        make = context.RawArray if raw else context.Array
        array = make("i", SEQUENCE)
        say(f"{name}.length", len(array))
        say(f"{name}.slice", list(array[2:5]))
        array[4:8] = [1, 2, 3, 4]
        run(sum_up, array)
        say(f"{name}.summed_up", list(array[:]))
        say(f"{name}.behind", error_of(lambda: array[10]))
        zeros = make("i", 5)
        say(f"{name}_from_size", list(zeros))
        say(f"{name}.empty", len(make("i", 0)))


def test_characters():
    text = context.Array("c", 8)
    text.value = b"hello"
    say("characters.value", text.value)
    text.value = b"hi"
    say("characters.raw", text.raw)
    say("characters.full", (setattr(text, "value", b"12345678"), text.value)[1])
    say("characters.too_long", error_of(lambda: setattr(text, "value", b"123456789")))


# -- sharedctypes


class Foo(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int64), ("y", ctypes.c_double), ("z", ctypes.c_int64)]


def double(x, y, foo, array, text):
    x.value *= 2
    y.value *= 2
    foo.x *= 2
    foo.y *= 2
    text.value *= 2
    for at in range(len(array)):
        array[at] *= 2


def test_sharedctypes():
    for lock in (False, True):
        name = "test_synchronize" if lock else "test_sharedctypes"
        x = context.Value("i", 7, lock=lock)
        y = context.Value(ctypes.c_double, 0.25, lock=lock)
        foo = context.Value(Foo, 3, 2.0, 1, lock=lock)
        array = context.Array("d", list(range(5)), lock=lock)
        text = context.Array("c", 20, lock=lock)
        text.value = b"hello"
        run(double, x, y, foo, array, text)
        outcome = [x.value, y.value, foo.x, foo.y, foo.z, *array, text.value.decode()]
        say(name, " ".join(str(one) for one in outcome))


def test_copy():
    foo = context.RawValue(Foo, 2, 5.0, 2**33)
    bar = sharedctypes.copy(foo)
    foo.x, foo.y, foo.z = 0, 0, 0
    say("test_copy", f"{bar.x} {bar.y} {bar.z}")


# -- SharedMemory


def write_at_one(name):
    segment = SharedMemory(name)
    segment.buf[1] = 77
    segment.close()


def test_shared_memory():
    name = f"mps-parity-{os.getpid()}"
    segment = SharedMemory(name, create=True, size=512)
    say("test_shared_memory_basics.name", segment.name == name)
    say("test_shared_memory_basics.size", segment.size)
    again = lambda: SharedMemory(name, create=True, size=512)
    say("test_shared_memory_basics.create_again", error_of(again))
    segment.buf[0] = 42
    same = SharedMemory(name)
    say("test_shared_memory_basics.attached", same.buf[0])
    run(write_at_one, name)
    say("test_shared_memory_across_processes", segment.buf[1])
    same.close()
    pickled = pickle.dumps(segment)
    segment.unlink()
    say("test_shared_memory_basics.unlink_again", error_of(segment.unlink))
    say("test_shared_memory_basics.attach_unlinked", error_of(lambda: SharedMemory(name)))
    dead = error_of(lambda: pickle.loads(pickled))
    say("test_shared_memory_pickle_unpickle_dead_object", dead)
    say("test_shared_memory_basics.after_unlink", segment.buf[0])
    segment.close()
    new = SharedMemory(name, create=True, size=5)
    say("test_shared_memory_recreate", bytes(new.buf[:5]))
    new.close()
    new.unlink()


def test_invalid_shared_memory_creation():
    create = lambda name, size: error_of(lambda: SharedMemory(name, create=True, size=size))
    say("test_invalid_shared_memory_creation.zero", create(None, 0))
    say("test_invalid_shared_memory_creation.slash", create("a/b", 1))
    missing = error_of(lambda: SharedMemory("mps-parity-missing"))
    say("test_invalid_shared_memory_creation.missing", missing)


CREATE = """
import sys, time
from multiprocessing.shared_memory import SharedMemory
segment = SharedMemory(sys.argv[1], create=True, size=10)
print(segment.name, flush=True)
time.sleep(60)
"""

ATTACH = """
import sys
from multiprocessing.shared_memory import SharedMemory
SharedMemory(sys.argv[1]).close()
"""


def exists(name):
    return os.path.exists(f"/dev/shm/{name}")


def test_cleaned_after_process_termination():
    name = f"mps-parity-term-{os.getpid()}"
    command = [sys.executable, "-c", CREATE, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdout.readline()
        process.terminate()
    deadline = time.monotonic() + 30
    while exists(name) and time.monotonic() < deadline:
        time.sleep(0.05)
    say("test_shared_memory_cleaned_after_process_termination", not exists(name))


def test_attach_of_a_stranger():
    name = f"mps-parity-stranger-{os.getpid()}"
    segment = SharedMemory(name, create=True, size=10)
    subprocess.run([sys.executable, "-c", ATTACH, name], stderr=subprocess.DEVNULL, check=True)
    deadline = time.monotonic() + 30
    while exists(name) and time.monotonic() < deadline:
        time.sleep(0.05)
    say("still_there_after_a_stranger", exists(name))
    segment.close()


# -- ShareableList


def test_shareable_list():
    items = ["howdy", b"HoWdY", -273.154, 100, None, True, 42]
    shareable = ShareableList(items)
    name = "test_shared_memory_shareable_list_basics"
    say(f"{name}.items", [str(item) for item in shareable] == [str(item) for item in items])
    say(f"{name}.length", len(shareable))
    say(f"{name}.format", shareable.format)
    say(f"{name}.count", f"{shareable.count(42)} {shareable.count(-1)}")
    say(f"{name}.index", shareable.index(42))
    say(f"{name}.behind", error_of(lambda: shareable[7]))
    shareable[0] = 17
    shareable[6] = "12345678"
    say(f"{name}.changed", f"{shareable[0]} {shareable[6]}")
    too_long = error_of(lambda: shareable.__setitem__(3, "123456789"))
    say(f"{name}.too_long", f"{too_long} {shareable[3]}")
    same = ShareableList(name=shareable.shm.name)
    same[3] = 1.5
    say(f"{name}.by_name", shareable[3])
    same.shm.close()
    shareable.shm.close()
    shareable.shm.unlink()
    zeros = ShareableList(["a\0\0", b"\0"])
    say("trailing_zeros", f"{len(zeros[0])} {len(zeros[1])}")
    zeros.shm.close()
    zeros.shm.unlink()


if __name__ == "__main__":
    test_value()
    test_getobj_getlock()
    test_wrap_around()
    test_killed_owner()
    test_array()
    test_characters()
    test_sharedctypes()
    test_copy()
    test_shared_memory()
    test_invalid_shared_memory_creation()
    test_cleaned_after_process_termination()
    test_attach_of_a_stranger()
    test_shareable_list()
