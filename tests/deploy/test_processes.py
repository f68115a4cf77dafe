"""Processes, their records and their ends, with small stand-ins."""

import errno
import json
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deploy.local.errors import StackError
from deploy.local.logs import LIMIT_BYTES, bound
from deploy.local.ports import free_port, free_ports, require_free
from deploy.local.processes import PROJECT_ROOT, Command, ManagedProcess, clear_left_overs, poll_until, release_guard

SLEEP = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('begun', flush=True); time.sleep(600)",
]
# Starts a process of its own, leading its own session as PostgreSQL's workers do, and says its pid.
FAMILY = [
    sys.executable,
    "-c",
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
    "print('begun', child.pid, flush=True); time.sleep(600)",
]

# Where nobody else looks for a free one.
FEW_PORTS = range(19_900, 19_930)


def started(state_dir: Path, arguments: list[str], name: str = "one", stop_seconds: float = 10.0) -> ManagedProcess:
    process = ManagedProcess(name, Command(arguments, stop_seconds=stop_seconds), state_dir)
    process.start()
    assert poll_until(lambda: "begun" in process.log_tail(), 20)
    return process


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_stopped_process_leaves_no_record_and_can_be_started_again(tmp_path: Path) -> None:
    process = started(tmp_path, SLEEP)
    first = process.pid
    process.stop()
    assert not process.is_running
    assert list((tmp_path / "run").iterdir()) == []

    process.start()
    assert process.pid != first
    process.stop()
    release_guard(tmp_path)


def test_what_does_not_end_in_time_is_killed(tmp_path: Path) -> None:
    process = started(tmp_path, STUBBORN, stop_seconds=0.3)
    pid = process.pid
    process.stop()
    assert is_gone(pid)


def test_a_paused_process_can_be_stopped(tmp_path: Path) -> None:
    process = started(tmp_path, SLEEP)
    pid = process.pid
    process.pause()
    assert poll_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, 10)
    process.stop()
    assert is_gone(pid)


def test_killing_takes_the_workers_too(tmp_path: Path) -> None:
    process = started(tmp_path, FAMILY)
    worker = int(process.log_tail().split()[-1])
    process.kill()
    assert is_gone(worker)
    assert process.exit_status == "killed by SIGKILL"


def test_what_a_crashed_run_left_is_ended_at_the_next_start(tmp_path: Path) -> None:
    left = started(tmp_path, SLEEP)
    pid = left.pid

    again = ManagedProcess("one", Command(SLEEP), tmp_path)
    again.start()

    assert is_gone(pid)
    assert again.is_running
    again.stop()


def test_a_strangers_process_with_a_recorded_pid_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen(SLEEP, stdout=subprocess.DEVNULL)
    try:
        (tmp_path / "run").mkdir()
        record = {"pid": stranger.pid, "started": 12345.0, "stop_signal": 15, "stop_seconds": 1.0}
        (tmp_path / "run" / "one.json").write_text(json.dumps(record))

        assert clear_left_overs(tmp_path) == []
        assert stranger.poll() is None
        assert list((tmp_path / "run").iterdir()) == []
    finally:
        stranger.kill()
        stranger.wait()


def test_a_record_that_was_cut_off_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "one.json").write_text('{"pid": 1')

    assert clear_left_overs(tmp_path) == []
    assert list((tmp_path / "run").iterdir()) == []


def test_children_end_when_their_starter_is_killed(tmp_path: Path) -> None:
    starter = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path\n"
            "from deploy.local.processes import Command, ManagedProcess\n"
            "process = ManagedProcess('one', Command([sys.executable, '-c', 'import time; time.sleep(600)']), "
            "Path(sys.argv[1]))\n"
            "process.start(); print(process.pid, flush=True); time.sleep(600)",
            str(tmp_path),
        ],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    child = int(starter.stdout.readline())
    assert not is_gone(child)

    starter.kill()
    starter.wait()
    starter.stdout.close()

    assert poll_until(lambda: is_gone(child), 20)
    assert poll_until(lambda: not list((tmp_path / "run").iterdir()), 10)


def test_a_port_in_use_is_named_with_the_variable_that_changes_it() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StackError, match=rf"port {port} for the gateway is in use .* COMPASS_GATEWAY_PORT"):
            require_free(port, "the gateway", "COMPASS_GATEWAY_PORT")
    require_free(free_port(), "the gateway", "COMPASS_GATEWAY_PORT")


def test_no_port_is_given_twice_before_a_server_listens_there(monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"""from deploy.local import ports
ports._FIRST_FREE = {FEW_PORTS[0]}
ports._LAST_FREE = {FEW_PORTS[-1]}
print(*ports.free_ports(10), flush=True)
input()
"""
    monkeypatch.setattr("deploy.local.ports._FIRST_FREE", FEW_PORTS[0])
    monkeypatch.setattr("deploy.local.ports._LAST_FREE", FEW_PORTS[-1])
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=PROJECT_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        theirs = {int(port) for port in other.stdout.readline().split()}
        mine = [*free_ports(4), free_port(), *free_ports(3)]
        other.communicate(b"\n", timeout=20)
    assert len(theirs) == 10
    assert len(set(mine)) == 8
    assert theirs.isdisjoint(mine)


def test_a_log_is_emptied_where_there_is_no_room_for_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path, copy: Path) -> None:
        copy.write_text("half of")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    log = tmp_path / "one.log"
    log.write_bytes(bytes(LIMIT_BYTES + 1))

    bound(log)

    assert log.stat().st_size == 0
    assert list(tmp_path.iterdir()) == [log]


def test_a_log_is_bounded_while_it_is_written(tmp_path: Path) -> None:
    writer = [
        sys.executable,
        "-c",
        f"import os, sys, time; sys.stdout.write('x' * {LIMIT_BYTES + 1}); sys.stdout.flush()\n"
        "while os.fstat(1).st_size > 0: time.sleep(0.05)\n"
        "print('after', flush=True); time.sleep(600)",
    ]
    process = ManagedProcess("one", Command(writer), tmp_path)
    process.start()
    assert poll_until(lambda: process.log_path.stat().st_size > LIMIT_BYTES, 20)

    bound(process.log_path)
    assert process.log_path.with_name("one.log.1").stat().st_size > LIMIT_BYTES

    assert poll_until(lambda: process.log_path.read_text() == "after\n", 10)
    process.stop()
