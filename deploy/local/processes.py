"""One child process with its log, its record on disk and its end; and the clearing of what a crash left running.

Every process that is started leaves a record (`run/<name>.json`: pid and start time) until it has ended. A record
whose process still runs when nobody watches it any more is a left-over. The start time proves that the process is
the recorded one and not a stranger that was given the same pid, so nothing else is ever signalled.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from deploy.local.errors import StackError
from deploy.local.logs import open_log

PROJECT_ROOT = Path(__file__).resolve().parents[2]

_START_TIME_TOLERANCE_SECONDS = 1.0
_KILL_WAIT_SECONDS = 10.0

_guards: dict[Path, "subprocess.Popen[bytes]"] = {}


@dataclass(frozen=True)
class Command:
    """What to start and how to end it.

    `stop_signal` asks for a clean end, which may take `stop_seconds` before the process is killed. `user` is the name
    of a system user to run as; only root can give one.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str] | None = None
    directory: Path = PROJECT_ROOT
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 20.0


@dataclass(frozen=True)
class _Record:
    pid: int
    started: float
    stop_signal: int
    stop_seconds: float

    def process(self) -> psutil.Process | None:
        """The recorded process while it lives; None once it has ended or its pid belongs to another."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < _START_TIME_TOLERANCE_SECONDS
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


class ManagedProcess:
    """A named child process. Starting it again after it ended, was stopped or was killed is always allowed."""

    def __init__(self, name: str, command: Command, state_dir: Path) -> None:
        self.name = name
        self.command = command
        self.log_path = state_dir / "logs" / f"{name}.log"
        self._run_dir = state_dir / "run"
        self._record_path = self._run_dir / f"{name}.json"
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The pid of the running process; StackError when it does not run."""
        if self._popen is None or not self.is_running:
            raise StackError(f"{self.name} is not running")
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended, whatever the reason."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def exit_status(self) -> str:
        """How the last run ended, in words."""
        code = None if self._popen is None else self._popen.poll()
        if code is None:
            return "not ended"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"

    def start(self) -> None:
        """Start it, after ending what a crashed run left of it. Does nothing when it runs already."""
        if self.is_running:
            return
        self._run_dir.mkdir(parents=True, exist_ok=True)
        self.end_left_over()
        _watch(self._run_dir)
        with open_log(self.log_path) as log:
            self._popen = subprocess.Popen(
                list(self.command.arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=None if self.command.environment is None else dict(self.command.environment),
                cwd=self.command.directory,
                user=self.command.user,
                group=None if self.command.user is None else _group_of(self.command.user),
                extra_groups=None if self.command.user is None else [],
                # Ctrl-C goes to the terminal's whole foreground group; the children are stopped in order instead.
                start_new_session=True,
            )
        _write_record(self._record_path, self._popen.pid, self.command)

    def end_left_over(self) -> bool:
        """End what a crashed run left under this name; whether there was something. `start` does it as well."""
        return not self.is_running and _end_left_over(self._record_path)

    def stop(self) -> None:
        """End it cleanly, or by force after `stop_seconds`. Does nothing when it does not run."""
        if self._popen is not None and self.is_running:
            end_process(psutil.Process(self._popen.pid), self.command.stop_signal, self.command.stop_seconds)
        self._collect()

    def kill(self) -> None:
        """SIGKILL for it and every process under it, as a crash would; returns when all of them are gone."""
        if self._popen is not None and self.is_running:
            _kill_tree(psutil.Process(self._popen.pid))
        self._collect()

    def pause(self) -> None:
        """SIGSTOP: it lives, keeps its connections and does not answer, until `resume`."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of its log, for a message that explains why it ended."""
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def _collect(self) -> None:
        if self._popen is not None:
            self._popen.wait(timeout=_KILL_WAIT_SECONDS)
        self._record_path.unlink(missing_ok=True)


def clear_left_overs(state_dir: Path) -> list[str]:
    """End every process that an earlier, crashed run left behind and remove its records; returns their names."""
    records = sorted((state_dir / "run").glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.stem for path in records if _end_left_over(path)]


def _end_left_over(record_path: Path) -> bool:
    try:
        record = _Record(**json.loads(record_path.read_text()))
    except FileNotFoundError:
        return False
    except (ValueError, TypeError):
        # A record that was cut off in the middle of writing names no process that could be proven ours.
        record_path.unlink(missing_ok=True)
        return False
    process = record.process()
    if process is not None:
        end_process(process, signal.Signals(record.stop_signal), record.stop_seconds)
    record_path.unlink(missing_ok=True)
    return process is not None


def _write_record(record_path: Path, pid: int, command: Command) -> None:
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return
    record = _Record(pid, started, int(command.stop_signal), command.stop_seconds)
    unfinished = record_path.with_suffix(".new")
    unfinished.write_text(json.dumps(asdict(record)))
    unfinished.replace(record_path)


def _watch(run_dir: Path) -> None:
    """Have a guard process end our children should this process be killed with SIGKILL.

    The guard waits on a pipe whose other end only this process holds. PR_SET_PDEATHSIG would do without a second
    process, but Linux sends it when the *thread* that started the child ends (a test's worker thread does), clears it
    when the child changes its user (as PostgreSQL's must under root), and macOS has nothing like it.
    """
    guard = _guards.get(run_dir)
    if guard is None or guard.poll() is not None:
        _guards[run_dir] = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.guard", str(run_dir.parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd=PROJECT_ROOT,
            start_new_session=True,
        )


def release_guard(state_dir: Path) -> None:
    """End the guard of a state directory, unless a process there still needs it."""
    if any((state_dir / "run").glob("*.json")):
        return
    guard = _guards.pop(state_dir / "run", None)
    if guard is not None and guard.stdin is not None:
        guard.stdin.close()
        guard.wait(timeout=_KILL_WAIT_SECONDS)


def end_process(process: psutil.Process, stop_signal: signal.Signals, stop_seconds: float) -> None:
    """Ask a process to end, and kill it with everything under it when it takes longer than `stop_seconds`."""
    try:
        # A process under SIGSTOP would not see the signal that asks it to end.
        process.send_signal(signal.SIGCONT)
        process.send_signal(stop_signal)
    except psutil.NoSuchProcess:
        return
    if not poll_until(lambda: _has_ended(process), stop_seconds):
        _kill_tree(process)


def _kill_tree(process: psutil.Process) -> None:
    # A server's workers (PostgreSQL's lead their own process groups) have to be found before their parent is gone.
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    if not poll_until(lambda: all(_has_ended(member) for member in family), _KILL_WAIT_SECONDS):
        pids = ", ".join(str(member.pid) for member in family if not _has_ended(member))
        raise StackError(f"could not end the processes {pids}: end them by hand")


def _has_ended(process: psutil.Process) -> bool:
    """A zombie has ended too: a container whose first process collects no children keeps them for ever."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _group_of(user: str) -> int:
    import pwd  # Not on Windows, where nobody asks for another user.

    return pwd.getpwnam(user).pw_gid


def poll_until(condition_holds: Callable[[], bool], seconds: float, interval: float = 0.05) -> bool:
    """Ask again and again until it holds; False when the time is over."""
    deadline = time.monotonic() + seconds
    while not condition_holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True
