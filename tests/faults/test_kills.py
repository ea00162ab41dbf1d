"""Commands that are killed, starved, interrupted: every file stays whole, and going on ends as if nothing had happened.

What strikes does so before a write of the command, drawn by chance: before a file is opened for writing, renamed,
linked or removed. Kills also come at any time. The processes are copies of one that has imported Keras.
`DDPM_CAMPAIGN=1` makes the campaign long, with kills of programs that begin from nothing, too; `pytest -s` shows its
table. `DDPM_CAMPAIGN=5` kills five times as often.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from ddpm_lib.cli import train
from ddpm_lib.config import InputError
from tests.faults.striking import PROGRAM, command, meaning, mount, small_disk, versions, visible
from tests.test_cli import ROOT

KILLS = 10 * int(os.environ.get("DDPM_CAMPAIGN", "0"))  # of every phase, in the long campaign

# What a user types, up to the folder. A run of "train" and one of "save" are the same, saved more and less often.
TRAIN = "train --batch_size 8 --steps_per_epoch 3 --epochs 3 --seed 3 --save_every"
PHASES = {
    "prepare": "prepare --image_size 16 --data_dir {given}/pictures --cache_dir",
    "train": f"{TRAIN} 1000 --out",
    "save": f"{TRAIN} 1 --out",
    "generate": "generate --model {given}/run.keras --num_samples 3 --batch_size 2 --steps 4 --trajectory --separate "
    "--overwrite --out",
    "export": "export --model {given}/run.keras --overwrite --out",
}
# What lies in the folder before; the command replaces those that it writes itself.
OLD = {
    "prepare": ["pictures-8px-0123456789ab.npy", "pictures-8px-0123456789ab.json"],
    "train": ["notes.txt"],
    "save": ["notes.txt"],
    "generate": ["notes.txt", "samples.npz", "samples.png", "seed_1.png", "trajectory.gif"],
    "export": ["notes.txt", "small.npz"],
}
# What each fault may make of a command: its exit codes, and a part of the last line after code 2.
FAULTS = {
    "fill": ((0, 2), "No space left on device"),
    "forbid": ((0, 2), "Read-only file system"),
    "delete": ((0, 2), "No such file or directory"),
    "interrupt": ((130,), None),
    "terminate": ((130, -signal.SIGTERM), None),
    "turn back": ((0,), None),  # the clock, again and again
}


def long(what):
    return pytest.mark.skipif("DDPM_CAMPAIGN" not in os.environ, reason=f"minutes: DDPM_CAMPAIGN=1 {what}")


@dataclasses.dataclass
class Phase:
    """A command, what it writes when nothing happens, and how long that takes."""

    name: str
    given: pathlib.Path
    versions: dict = dataclasses.field(default_factory=dict)  # name -> what the file says, from its first to its last
    last: dict = dataclasses.field(default_factory=dict)
    writes: int = 0
    seconds: float = 0.0

    @property
    def command(self):
        return PHASES[self.name].split()[0]

    def arguments(self, folder):
        """Return the command; of a run that has a checkpoint, to go on with it."""
        target = folder / "small.npz" if self.name == "export" else folder
        words = [*PHASES[self.name].format(given=self.given).split(), str(target)]
        if (folder / "latest.keras").exists():
            words[-2:] = ["--resume", str(folder / "latest.keras")]
        return words

    def new_folder(self, base):
        shutil.rmtree(base / "folder", ignore_errors=True)
        (base / "folder").mkdir(parents=True)
        for name in OLD[self.name]:
            (base / "folder" / name).write_bytes(b"old " + name.encode())
        return base / "folder"

    def check(self, folder):
        """See that every file is the old one, or one that the run without a fault had under this name."""
        found = visible(folder)
        assert not set(OLD[self.name]) - set(found), "a file is gone"
        for name, says in found.items():
            old = [b"old " + name.encode()] if name in OLD[self.name] else []
            assert says in old + self.versions.get(name, []), f"{name} is none of the whole files of this name"


class Campaign:
    """Runs commands, and counts what was tried and what survived."""

    def __init__(self, processes, base):
        self.processes, self.base = processes, base
        self.given, self.elsewhere = base / "given", base / "elsewhere"
        self.elsewhere.mkdir(parents=True)
        self.seed = time.time_ns()
        self.tried, self.survived = Counter(), Counter()
        self.phases = {}

    def generator(self, *names):
        return random.Random(" ".join(map(str, (self.seed, *names))))

    def phase(self, name):
        """Run a command once without a fault, keeping every file that it ever finished."""
        if name in self.phases:
            return self.phases[name]
        if name == "train":  # the same run; interrupted, it saves a step that "save" saves, too
            self.phases[name] = dataclasses.replace(self.phase("save"), name=name)
            return self.phases[name]
        if name in ("generate", "export"):
            self.phase("save")
        phase = Phase(name, self.given)
        folder = phase.new_folder(self.base / f"whole {name}")
        process, start = self.start(phase.arguments(folder), folder, "record"), time.monotonic()
        process.join()
        assert process.exitcode == 0, (self.base / "log").read_text()
        phase.seconds = time.monotonic() - start
        phase.versions, phase.writes = versions(folder)
        phase.last = visible(folder)
        if name == "save":
            shutil.copy(folder / "latest.keras", self.given / "run.keras")
        self.phases[name] = phase
        return phase

    def start(self, arguments, folder, act=None, at=None, log="log"):
        rest = (folder, self.base / log, self.elsewhere, act, at)
        process = self.processes.Process(target=command, args=(arguments, *rest))
        process.start()
        return process

    def start_program(self, arguments):
        """Start a command as a user does, from nothing."""
        environment = {**os.environ, "TMPDIR": str(self.elsewhere)}
        environment |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}  # as the others have it
        with open(self.base / "log", "w") as log:
            program = [sys.executable, "-c", PROGRAM, *arguments]
            return subprocess.Popen(program, cwd=ROOT, env=environment, stdout=log, stderr=log)

    @functools.cached_property
    def seconds_to_import(self):
        start = time.monotonic()
        assert self.start_program(["info"]).wait() == 0
        return time.monotonic() - start

    def run(self, arguments, folder, act=None, at=None):
        """Run a command to its end; return its exit code and its last line."""
        process = self.start(arguments, folder, act, at)
        process.join()
        return process.exitcode, self.last_line()

    def last_line(self, log="log"):
        text = (self.base / log).read_text()
        assert "Traceback" not in text, text
        return (text.splitlines() or [""])[-1]

    def kill(self, phase, folder, generator, from_nothing):
        """Kill a command at a moment drawn by chance; return its exit code, and the moment in words."""
        arguments = phase.arguments(folder)
        if from_nothing:
            moment = generator.uniform(0, self.seconds_to_import + phase.seconds)
            process = self.start_program(arguments)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(moment)
            process.kill()
            return process.wait(), f"{moment:.2f} s after it was started from nothing"
        if generator.random() < 0.5:
            at = generator.randrange(phase.writes)
            return self.run(arguments, folder, "kill", at)[0], f"before write {at}"
        moment = generator.uniform(0, phase.seconds)
        process = self.start(arguments, folder)
        process.join(moment)
        process.kill()
        process.join()
        return process.exitcode, f"after {moment:.2f} s"

    def go_on(self, phase, folder):
        """Go on as a user does, and see that nothing tells the result from that of the run without a fault."""
        arguments = phase.arguments(folder)
        code, line = self.run(arguments, folder)
        if advice := re.search(r"holds a run already: continue it with --resume (\S+),", line):
            code, line = self.run([*arguments[:-2], "--resume", advice[1]], folder)
        assert code == 0, line
        phase.check(folder)
        found = visible(folder)
        for name, says in phase.last.items():
            # The samples of an epoch are drawn after it was saved: a run killed between the two has none of it.
            if name in found or not (phase.command == "train" and name.startswith("samples/")):
                assert found.get(name) == says, name
        assert not list(folder.rglob("*.tmp.keras")) and not list(folder.glob("*.partial")), "leftovers"

    @contextlib.contextmanager
    def attempt(self, row, lost, what, counts=True):
        """Count an attempt; one that is lost does not end the campaign."""
        try:
            yield
            self.tried[row] += counts
            self.survived[row] += counts
        except Exception:
            self.tried[row] += 1
            log = (self.base / "log").read_text()
            lost.append(f"seed {self.seed}, {what}\n{traceback.format_exc(limit=-3)}\n{log[-1500:]}")

    def table(self):
        lines = [f"{'':24}{'tried':>8}{'survived':>10}{'lost':>6}"]
        for row, tried in self.tried.items():
            lines.append(f"{row:24}{tried:8}{self.survived[row]:10}{tried - self.survived[row]:6}")
        return "\n".join(lines)


@pytest.fixture(scope="module")
def campaign(processes, tmp_path_factory):
    campaign = Campaign(processes, tmp_path_factory.mktemp("campaign"))
    print(f"\nseed {campaign.seed}")
    (campaign.given / "pictures").mkdir(parents=True)
    for number in range(300):
        pixels = np.random.default_rng(number).integers(0, 256, (90, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(campaign.given / f"pictures/{number}.png")
    yield campaign
    print(f"\n{campaign.table()}")


# --- kill -9 ---


def kill_again_and_again(campaign, name, number):
    """Kill a command and start it on what is left, again and again; now and then let it end, and compare."""
    phase, generator = campaign.phase(name), campaign.generator(name)
    base, lost, killed = campaign.base / name, [], 0
    folder = phase.new_folder(base)
    while killed < number:
        code, moment = campaign.kill(phase, folder, generator, from_nothing=killed % 5 == 4)
        struck = code == -signal.SIGKILL  # or it was over before
        killed += struck
        survived = False
        with campaign.attempt(f"kill -9, {name}", lost, f"{name}, killed {moment}", counts=struck):
            assert struck or code == 0, code
            phase.check(folder)
            if ends := not struck or killed == number or generator.random() < 0.3:
                campaign.go_on(phase, folder)
            survived = not ends
        if not survived:
            folder = phase.new_folder(base)
        if lost and not struck:
            break
    assert not lost, "\n\n".join(lost)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["prepare", "save", "generate", "export"])
def test_a_killed_command_spoils_nothing(campaign, name):
    kill_again_and_again(campaign, name, 1)


@pytest.mark.slow
@long("kills at 50 moments")
@pytest.mark.parametrize("name", PHASES)
def test_commands_killed_again_and_again_spoil_nothing(campaign, name):
    kill_again_and_again(campaign, name, KILLS)


@pytest.mark.parametrize("name, is_run", [(".unet_epoch_1.7.tmp.keras", False), ("unet_epoch_1.keras", True)])
def test_only_a_whole_checkpoint_makes_a_run(tmp_path, name, is_run):
    """A run killed in its first save has none; one killed just after it has no `latest.keras` yet."""
    (tmp_path / name).touch()
    context = pytest.raises(InputError, match=f"--resume {tmp_path / name},") if is_run else contextlib.nullcontext()
    with context:
        train._refuse_existing_run(tmp_path)


# --- what else happens to a disk, a process, a clock ---


def strike(campaign, name, fault):
    """Let a fault strike a command before a write drawn by chance, undo it, and go on."""
    phase, lost = campaign.phase(name), []
    at = None if fault == "turn back" else campaign.generator(name, fault).randrange(phase.writes)
    base = campaign.base / f"{name} {fault}"
    with small_disk(base) if fault in ("fill", "forbid") else contextlib.nullcontext():
        folder = phase.new_folder(base)
        with campaign.attempt(f"{fault}, {name}", lost, f"{name}, {fault} before write {at}"):
            if (fault, name) == ("forbid", "prepare"):  # it has a file open all the time, which keeps a disk writable
                mount("-o", "remount,ro", base)
            code, line = campaign.run(phase.arguments(folder), folder, fault, at)
            codes, reason = FAULTS[fault]
            assert code in codes, (code, line)
            if code == 2:
                assert line.startswith(f"ddpm {phase.command}: error: ") and reason in line, line
            elif code == 130:
                assert line.startswith(f"ddpm {phase.command}: interrupted"), line
            if rescue := re.search(r"the state was saved to (\S+):", line):
                assert meaning(pathlib.Path(rescue[1])) in phase.versions["latest.keras"]
            if fault == "delete":
                trained = "Epoch 1/" in (campaign.base / "log").read_text()
                assert rescue or code == 0 or not trained, f"the state is lost: {line}"
                phase.new_folder(base)
            elif fault == "fill":
                (base / "others").unlink(missing_ok=True)
            elif fault == "forbid":
                mount("-o", "remount,rw", base)
            phase.check(folder)
            campaign.go_on(phase, folder)
    assert not lost, lost[0]


@pytest.mark.slow
@pytest.mark.parametrize("name, fault", [("export", "fill"), ("prepare", "interrupt")])
def test_a_fault_spoils_nothing(campaign, name, fault):
    strike(campaign, name, fault)


@pytest.mark.slow
@long("tries every fault on every command")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["export", "prepare", "generate", "save"])
def test_no_fault_spoils_anything(campaign, name, fault):
    strike(campaign, name, fault)


@pytest.mark.slow
@long("starts every command twice")
@pytest.mark.parametrize("name", ["export", "prepare", "generate", "save"])
def test_two_at_once_do_not_mix(campaign, name):
    """What takes long refuses a second one; a second preparation waits, and of two exports either is the result."""
    phase, lost = campaign.phase(name), []
    folder = phase.new_folder(campaign.base / f"two {name}")
    arguments = phase.arguments(folder)
    if name == "generate":  # nor may one write over what the other has drawn
        arguments.remove("--overwrite")
        for pattern in ("samples.*", "seed_*", "trajectory.*"):
            for path in folder.glob(pattern):
                path.unlink()
    with campaign.attempt(f"two at once, {name}", lost, name):
        logs = ("log", "other")
        two = [campaign.start(arguments, folder, log=log) for log in logs]
        for process in two:
            process.join()
        codes, lines = [process.exitcode for process in two], [campaign.last_line(log) for log in logs]
        assert sorted(codes) == ([0, 0] if name in ("prepare", "export") else [0, 2]), (codes, lines)
        for code, line in zip(codes, lines, strict=True):
            assert code == 0 or re.search("another run is writing|holds .* already", line), line
        phase.check(folder)
        campaign.go_on(phase, folder)
    assert not lost, lost[0]
