"""Runs a recipe: starts stages when their inputs are there, watches them, and leaves a run that can be continued."""

import os
import secrets
import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack
from types import FrameType

from eval.errors import ProblemSetError
from pipeline.contract.checkpoints import GRACE
from pipeline.contract.errors import RecipeError, RunError, StageError
from pipeline.disk.locks import Held, describe
from pipeline.recipe.fingerprint import Fingerprint
from pipeline.recipe.inputs import InputError
from pipeline.recipe.recipe import Recipe, Step, as_dict
from pipeline.run import launch, signals
from pipeline.run.before import compiler, contexts, hardware, leaks, parts, precision, reads, servers
from pipeline.run.display.figures import duration
from pipeline.run.display.progress import Display
from pipeline.run.display.until_gone import UntilGone
from pipeline.run.foreign_calls import Seen, files_of
from pipeline.run.job import Assignment, events_file
from pipeline.run.reuse import Reuse
from pipeline.run.running import Running
from pipeline.store.run_folder import RunFolder, wall_seconds
from pipeline.store.store import Artifact, Store
from rewards.sandbox.pool import sandbox
from rewards.sandbox.processes import SandboxError

_TICK = 0.1  # seconds between two looks at events
_LONG = 15.0  # seconds after which a call of foreign code is told to take long
_TWICE = 1.0  # seconds after which a second signal of the same kind means: leave at once
_ASK_AGAIN = 1.0  # seconds between two looks at whether another run has made an artifact


class Runner:
    """One attempt at a run. `command` is what continues it, as a person would type it."""

    def __init__(self, recipe: Recipe, prints: Mapping[str, Fingerprint], store: Store, run: RunFolder,
                 display: Display, command: str, *, inexact: bool = False, mend: bool = False) -> None:
        self.recipe, self.prints, self.store, self.run_folder = recipe, prints, store, run
        self._display = UntilGone(display, self._is_still_shown)
        self._command = command
        self._attempt = secrets.token_hex(8)
        self._jobs = Assignment(recipe, prints, store, run, self._attempt, inexact)
        self._reuse = Reuse(recipe, prints, store, run, self._display, command, mend)
        self._made: dict[str, Artifact] = {}
        self._waiting = list(recipe.steps)
        self._running: dict[str, Running] = {}
        self._failed: list[str] = []
        self._held: dict[str, float] = {}  # stage -> when to ask again whether another run has made it
        self._zygote: launch.Zygote | None = None
        self._stop: signal.Signals | None = None
        self._stop_is_told = False
        self._stopped_at = 0.0
        self._late: list[str] = []  # stages that were killed, since a stop leaves no more time

    def run(self) -> int:
        """Run to the end and return the exit code: 0, 1 where a stage failed, 128 + signal where it was stopped.

        Raises Held where another process works on the run.
        """
        with self.run_folder.lock(self._attempt):
            self.run_folder.begin(self._attempt, as_dict(self.recipe), self._command)
            self.run_folder.adopt(self.store, self.recipe.steps)
            self.run_folder.keep_links(self.store.path(name, one).name for name, one in self.prints.items())
            with signals.heard_by(self._on_signal):
                try:
                    self._work()
                except launch.LaunchError as error:
                    # Where none runs it is the next one that could not be started.
                    for name in list(self._running) or self._waiting[:1]:
                        self._fail(name, str(error))
                finally:
                    self._close()
            return self._outcome()

    def _work(self) -> None:
        # What is there is known before a process is started: a run that is done answers at once.
        self._reuse_ready()
        if self._waiting:
            # It loads its libraries while leaks are looked for and the sandbox is tried.
            self._open_zygote()
            self._check_before()
            self._tell_sandbox()
        while self._running or (self._waiting and not self._failed and not self._stop):
            if not self._failed and not self._stop:
                self._start_ready()
            if self._zygote:
                self._zygote.wait(_TICK)
            else:
                time.sleep(_TICK)
            for name in list(self._running):
                self._look_at(name)
            self._tell_stop()
            if self._stop and self._running and time.monotonic() > self._stopped_at + GRACE:
                # A step that takes longer than the grace is lost, but not the checkpoint before it.
                self._late = self._late or list(self._running)
                self._signal_all(signal.SIGKILL)
            self._display.refresh()

    def _tell_stop(self) -> None:
        """Once, outside of the signal's handler, which may have come in the middle of a line."""
        if self._stop and not self._stop_is_told:
            self._stop_is_told = True
            for name in self._running:
                self._note(
                    name, f"ends its step, in {GRACE:.0f} seconds at most; Ctrl-C once more leaves at once"
                )

    def _reuse_ready(self) -> None:
        try:
            ready = self._reuse.ready()
        except RunError as error:
            self.run_folder.record("run", event="failed", message=str(error))
            raise
        for name, artifact in ready.items():
            self._use(name, artifact)

    def _use(self, name: str, artifact: Artifact) -> None:
        self._waiting.remove(name)
        self._keep(name, artifact)
        self.run_folder.record(name, event="reused", artifact=artifact.path.name)
        self._display.reused(name, artifact.path.name)
        self._reuse.tell_of(name, self._made)

    def _open_zygote(self) -> None:
        forked = [step.config for name in self._waiting if not self._accelerated(step := self.recipe.steps[name])]
        if not forked:
            return
        modules = dict.fromkeys(module for config in forked for module in config.preload)
        self._zygote = launch.Zygote(list(modules), self.run_folder.logs / "processes.log")

    def _accelerated(self, step: Step) -> bool:
        return self.recipe.accelerate is not None and type(step.config).distributed

    def _check_before(self) -> None:
        """Raises RecipeError where the machine has not what is asked for, answers do not fit in a context, stages
        cannot work with what they read, or test problems are in the training data."""
        try:
            if self.recipe.accelerate and any(self._accelerated(self.recipe.steps[name]) for name in self._waiting):
                hardware.check(self.recipe.accelerate)
                parts.check(self.recipe.accelerate, (self.recipe.steps[name] for name in self._waiting))
            compiler.check(self.recipe.steps[name] for name in self._waiting)
            precision.check(self.recipe.steps[name] for name in self._waiting)
            servers.check(self.recipe.steps[name] for name in self._waiting)
            contexts.check(self.recipe, exactly=True)
            reads.check(self.recipe, exactly=True)
            text = leaks.check(self.recipe)
        except (RecipeError, ProblemSetError, StageError, InputError) as error:
            self.run_folder.record("run", event="failed", message=str(error))
            raise RecipeError(str(error).splitlines()) from error
        if text:
            self.run_folder.record("run", event="note", text=text)
            self._display.say(text)

    def _tell_sandbox(self) -> None:
        try:
            text = f"model-written programs run at {sandbox.report().line}"
        except SandboxError as error:
            text = f"model-written programs cannot be run: {error}"
        sandbox.pool.close()  # the stages have their own
        self.run_folder.record("run", event="note", text=text)
        self._display.say(text)

    def _start_ready(self) -> None:
        """Start what is ready, in the recipe's order, while threads fit; a stage wider than `parallel`, or of several
        processes, runs alone."""
        for name in list(self._waiting):
            step = self.recipe.steps[name]
            if any(needed not in self._made for needed in step.needs) or self._held.get(name, 0.0) > time.monotonic():
                continue
            if self._shares_a_server(step):
                continue
            used = sum(running.step.config.threads for running in self._running.values())
            # Several processes take the devices, and a port, that any others would take as well.
            alone = self._accelerated(step) or any(self._accelerated(one.step) for one in self._running.values())
            if used and (alone or used + step.config.threads > self.recipe.parallel):
                return  # later and narrower stages do not overtake, or a wide one might never start
            self._start(step)

    def _shares_a_server(self, step: Step) -> bool:
        """Whether a stage at work sends its model to the server that this one would send its own to."""
        url = servers.url_of(step)
        return url is not None and any(servers.url_of(running.step) == url for running in self._running.values())

    def _start(self, step: Step) -> None:
        name, fingerprint = step.name, self.prints[step.name]
        locks = self._locks(step)
        if locks is None:
            return
        try:
            artifact = self._reuse.find(name, self._made)
            self._reuse.check_inputs(name, self._made)
        except RunError as error:
            locks.close()
            self._waiting.remove(name)
            self._fail(name, str(error))
            return
        if artifact:  # another run has just made it
            locks.close()
            self._use(name, artifact)
            return
        log = self.run_folder.logs / f"{name}.log"
        events = events_file(self.run_folder, name)
        # Those of an earlier attempt would be taken for this one's.
        events.unlink(missing_ok=True)
        file = self._jobs.write(step, self._made)
        calls = file.with_name("calls")
        for old in files_of(calls):
            old.unlink()
        self.run_folder.record(name, event="started", fingerprint=fingerprint.digest)
        logged = log.stat().st_size if log.exists() else 0
        if self.recipe.accelerate and self._accelerated(step):
            process = launch.accelerate(self.recipe.accelerate, file, log)
        else:
            assert self._zygote is not None
            process = self._zygote.start(file, log)
        self._waiting.remove(name)
        self._running[name] = Running(step, locks, process, events, log, Seen(calls), logged=logged)
        self._display.started(name, step.kind)

    def _locks(self, step: Step) -> ExitStack | None:
        """The rights that a stage needs; None where it has to wait for one."""
        name, url = step.name, servers.url_of(step)
        with ExitStack() as taken:
            try:
                # Runs share artifacts, and another run may be making this one.
                doing = "is making the same artifact"
                taken.enter_context(self.store.lock(name, self.prints[name]))
                if url:  # It holds one model, and who sends another takes it from all others.
                    doing = f"is drawing from {url}"
                    taken.enter_context(self.store.server_lock(url))
            except Held as error:
                if name not in self._held:
                    self._note(name, f"waits: {describe(error.holder)} {doing}")
                self._held[name] = time.monotonic() + _ASK_AGAIN
                return None
            return taken.pop_all()

    def _look_at(self, name: str) -> None:
        running = self._running[name]
        code = running.process.poll()  # before reading: what it told before it ended is then read too
        self._hear(name, running)
        if code is None:
            self._watch_foreign_call(name, running)
            return
        del self._running[name]
        running.locks.close()
        artifact = self.store.find(name, self.prints[name])
        # A stage that was stopped in its last moment may have finished without being able to say so.
        if artifact and (running.done or self._stop):
            metrics = artifact.manifest["metrics"]
            seconds = artifact.manifest["seconds"]
            self._keep(name, artifact)
            self.run_folder.record(
                name, event="finished", seconds=seconds, metrics=metrics, artifact=artifact.path.name
            )
            self._display.finished(name, seconds, metrics)
            self._reuse.tell_of(name, self._made)
            return
        if not self._stop and code in signals.STOPPED:
            # The signal reached the stage before the runner, or the stage alone.
            self._on_signal(signal.SIGTERM, None)
        if self._stop:
            self.run_folder.record(name, event="stopped", seconds=round(time.monotonic() - running.began, 3))
            return
        self._fail(name, running.why(code, self.run_folder.path))

    def _watch_foreign_call(self, name: str, running: Running) -> None:
        call = running.calls.at_work()
        if call is None or call.since < _LONG:
            return
        if call.since < call.most:
            if running.told != call.what:
                running.told = call.what
                self._note(name, f"{call.what} has been at work for {call.since:.0f} seconds")
        elif running.failure is None:
            # Its process cannot end it; what the stage made before is in its checkpoint.
            text = f"{call.what} has not returned after {call.since:.0f} seconds"
            running.failure = {"message": text, "expected": True}
            running.process.send(signal.SIGKILL)

    def _note(self, name: str, text: str) -> None:
        self._display.note(name, text)
        self.run_folder.record(name, event="note", text=text)

    def _is_still_shown(self, error: OSError) -> bool:
        """Whether the display goes on after this error of writing; the run does, but where nobody reads it."""
        if isinstance(error, BlockingIOError):
            signals.wait_for_readers()
            return True
        if signals.lose_readers():
            # Who reads no more, as of `retort run .. | head`, stops the run as a signal does: stages leave checkpoints.
            self._on_signal(signal.SIGPIPE, None)
            return False
        # A full disk under the log is not that of the run, which has its own way of telling that it has no room.
        text = f"the log cannot be written ({error.strerror}), and nothing more is shown; the run goes on"
        signals.lose_log(f"retort: {text}: see retort status {self.run_folder.path}")
        self.run_folder.record("run", event="note", text=text)
        return False

    def _fail(self, name: str, message: str) -> None:
        self._failed.append(name)
        self.run_folder.record(name, event="failed", message=message)
        self._display.failed(name, message)

    def _hear(self, name: str, running: Running) -> None:
        """Pass on what the stage has told since it was last heard."""
        for row in running.unread_events():
            match row.get("event"):
                case "started":  # until then the zygote may have been loading
                    running.began = time.monotonic()
                    self._display.at_work(name)
                case "progress":
                    self._display.progress(name, row["done"], row["total"], row["figures"])
                case "note":
                    self._note(name, row["text"])
                case "failed":  # of several processes the first to fail, since others fail by what it left undone
                    running.failure = running.failure or row
                case "done":
                    running.done = row

    def _keep(self, name: str, artifact: Artifact) -> None:
        self._made[name] = artifact
        self.run_folder.link(list(self.recipe.steps).index(name) + 1, name, artifact.path)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._stop:
            # One stop often comes twice: make passes on what its whole group was sent. And what follows a warning, as
            # SIGTERM follows Slurm's SIGUSR1, is no reason to lose the step that is being ended.
            again = number in (self._stop, signal.SIGINT) and time.monotonic() > self._stopped_at + _TWICE
            if again:
                self._signal_all(signal.SIGKILL)
                self._display.close()  # gives the terminal its cursor back
                os._exit(128 + number)
            return
        if number == signal.SIGHUP:
            signals.lose_terminal()
        self._stop = signal.Signals(number)
        self._stopped_at = time.monotonic()
        self._signal_all(signal.SIGTERM)
        if self._zygote:
            self._zygote.abandon_loading()

    def _signal_all(self, number: signal.Signals) -> None:
        for running in list(self._running.values()):
            running.process.send(number)

    def _close(self) -> None:
        self._signal_all(signal.SIGKILL)
        for running in self._running.values():
            running.locks.close()
        if self._zygote:
            self._zygote.close()
        self._display.close()

    def _outcome(self) -> int:
        seconds = wall_seconds(self.run_folder.ledger())
        go_on = f"Finished stages are kept. To go on: {self._command}"
        if self._stop:
            self.run_folder.record("run", event="stopped", signal=self._stop.name)
            lost = (f", and {', '.join(self._late)} killed after {GRACE:.0f} seconds: what came after the last "
                    "checkpoint is lost") if self._late else ""
            self._display.say(f"stopped by {self._stop.name}{lost}. {go_on}")
            return 128 + self._stop
        if self._failed:
            self.run_folder.record("run", event="failed", stages=self._failed)
            self._display.say(go_on)
            return 1
        self.run_folder.record("run", event="finished")
        self._display.say(f"{self.run_folder.path} is done: {len(self._made)} stages, {duration(seconds)}")
        return 0
