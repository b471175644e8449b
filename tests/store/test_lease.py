import json
import os
import socket
import subprocess
import sys
import time

import pytest

from raykd.store import Folder, StoreError, WriterReplacedError
from raykd.store.lease import Lease


def test_a_second_one_is_told_who_holds_it(root):
    folder = Folder(root)
    lease = Lease(folder, stale=60.0)
    with pytest.raises(StoreError) as caught:
        Lease(Folder(root), stale=60.0)
    text = str(caught.value)
    assert f"is being written by process {os.getpid()} on {socket.gethostname()}, since 20" in text
    assert "stop it first" in text
    lease.hold()
    lease.release()


def test_terms_count_up(root):
    folder = Folder(root)
    for term in (1, 2, 3):
        lease = Lease(folder, stale=60.0)
        assert lease.term == term
        lease.release()


def test_a_dead_process_on_this_machine_is_followed_at_once(root):
    program = (
        "import os, sys; from raykd.store import Folder; from raykd.store.lease import Lease;"
        " lease = Lease(Folder(sys.argv[1]), stale=60.0); print(lease.term, flush=True);"
        " sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, root]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline().split() == [b"1"]
        with pytest.raises(StoreError, match=f"process {process.pid} on"):
            Lease(Folder(root), stale=60.0)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie is dead as well
        lease = Lease(Folder(root), stale=60.0)
    assert lease.term == 2
    lease.release()


def test_a_process_id_that_was_given_again_is_not_the_same_process(tmp_path):
    folder = Folder(tmp_path)
    Lease(folder, stale=60.0)._stop.set()
    owner = json.loads(folder.read("writer/000001.json"))
    folder.write("writer/000001.json", json.dumps(owner | {"born": "1"}).encode())
    lease = Lease(folder, stale=60.0)
    assert lease.term == 2
    lease.release()


def test_a_silent_one_elsewhere_is_followed_and_notices(conditional_root, monkeypatch):
    folder = Folder(conditional_root)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: "elsewhere")
        first = Lease(folder, stale=600.0)
    with pytest.raises(StoreError, match=r"on elsewhere, .* try again in \d+ s"):
        Lease(folder, stale=60.0)
    silent = json.dumps({"time": time.time() - 61, "closed": False}).encode()
    folder.write("writer/000001.beat", silent)
    second = Lease(folder, stale=60.0)
    second.hold()
    with pytest.raises(WriterReplacedError, match=f"process {os.getpid()} on "):
        first.hold()
    first.release()
    second.release()


def test_signs_of_life(tmp_path):
    folder = Folder(tmp_path)
    lease = Lease(folder, stale=0.3)
    before = json.loads(folder.read("writer/000001.beat"))["time"]
    for _ in range(200):
        time.sleep(0.05)
        if json.loads(folder.read("writer/000001.beat"))["time"] > before:
            break
    else:
        pytest.fail("no sign of life in ten seconds")
    lease.release()
    assert json.loads(folder.read("writer/000001.beat"))["closed"]


def test_two_with_the_same_term_are_noticed(tmp_path):
    """Where conditional PUT is ignored, two may take one term; the later overwrote the earlier."""
    folder = Folder(tmp_path)
    lease = Lease(folder, stale=0.3)
    owner = json.loads(folder.read("writer/000001.json"))
    folder.write("writer/000001.json", json.dumps(owner | {"nonce": "other"}).encode())
    for _ in range(200):
        time.sleep(0.05)
        if lease._replaced:
            break
    with pytest.raises(WriterReplacedError):
        lease.hold()
    lease.release()


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"nonsense"])
def test_a_damaged_lease_does_not_lock_a_study_for_ever(tmp_path, data):
    Folder(tmp_path).write("writer/000001.json", data)
    lease = Lease(Folder(tmp_path), stale=60.0)
    assert lease.term == 2
    lease.release()
