"""Odd shells: closed streams, terminals of few letters, readers that go away."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.test_cli import ROOT


def shell(redirection, body, **environment):
    """Run `ddpm info`, with a function in its place, under a shell's redirections."""
    script = f"""
import os, sys
from ddpm_lib import cli
from ddpm_lib.cli import info
def run(flags):
{body}
info.run = run
sys.exit(cli.main(["info"]))
"""
    return subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "$0" {redirection}', script],
        **{"cwd": ROOT, "env": {**os.environ, **environment}, "capture_output": True, "text": True},
    )


@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-"])
def test_a_closed_stream_goes_nowhere(closed):
    body = """
    os.fstat(1), os.fstat(2), os.dup(2)
    print("out"), print("err", file=sys.stderr)
    assert os.open(os.devnull, os.O_RDONLY) > 2
    os._exit(7) if sys.argv else None
"""
    assert shell(closed, body).returncode == 7


def test_letters_that_a_terminal_lacks_are_spelt_out():
    result = shell("", '    print("grün ≤ 1"), print("ü", file=sys.stderr)', PYTHONIOENCODING="ascii")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "gr\\xfcn \\u2264 1\n" and result.stderr == "\\xfc\n"


def test_a_reader_that_has_seen_enough_is_no_error():
    body = "    print('\\n'.join(map(str, range(100000))))"
    result = shell("| head -1; exit ${PIPESTATUS[0]}", body)
    assert result.stdout == "0\n" and result.stderr == ""
    assert result.returncode == 141


@pytest.mark.slow
def test_generate_draws_with_standard_error_closed(tmp_path):
    command = "generate.py --model digits --num_samples 1 --steps 1"
    line = f'"{sys.executable}" {command} --out "{tmp_path}/out" 2>&-'
    result = subprocess.run(["bash", "-c", line], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert result.returncode == 0 and "wrote" in result.stdout
    assert len(np.load(tmp_path / "out/samples.npz")["images"]) == 1
