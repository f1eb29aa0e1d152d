# SPDX-License-Identifier: MIT
"""instructions — G16: instructions and last-level misses a want, counted by callgrind.

Noise-free, so it is a gate: perf/baseline.json holds what a known commit needed, and a rise of more
than 3 % must be explained. The same run with N and with 2N wants is subtracted, so that set-up does
not count. Valgrind does not know AVX-512: the build must be for x86-64-v3 or lower.
"""
import json
import os
import re
import shutil
import subprocess
import tempfile

from measure import Broken, Missing
from rows import finish

BASELINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "baseline.json")
RISE_MAX = 1.03
WANTS = 64 * 64 * 8  # a multiple of every batch size and of the bench's round


def count(bench, batch, wants):
    """Returns: instructions and last-level data misses of the turns of one run."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "callgrind")
        argv = ["valgrind", "--tool=callgrind", "--toggle-collect=pipeline_turn", "--cache-sim=yes",
                f"--callgrind-out-file={out}", bench.program("bench_pipeline"), "--keys", "2000",
                "--batch", str(batch), "--wants", str(wants)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=900)
        if done.returncode != 0:
            raise Broken(f"{' '.join(argv)}: {done.stderr.strip()[-400:]}")
        with open(out) as f:
            text = f.read()
    events = re.search(r"^events: (.*)$", text, re.M).group(1).split()
    totals = re.search(r"^(?:totals|summary): (.*)$", text, re.M).group(1).split()
    found = dict(zip(events, map(int, totals)))
    return found["Ir"], found.get("DLmr", 0) + found.get("DLmw", 0)


def g16(ctx):
    if shutil.which("valgrind") is None:
        raise Missing("valgrind is not installed")
    baseline = {}
    if os.path.exists(BASELINE):
        with open(BASELINE) as f:
            baseline = json.load(f)
    for batch in (1, 16, 64):
        ir_one, miss_one = count(ctx.bench, batch, WANTS)
        ir_two, miss_two = count(ctx.bench, batch, 2 * WANTS)
        # Both runs warm up with as many wants as they count, so twice WANTS lie between them.
        per_want = (ir_two - ir_one) / (2 * WANTS)
        misses = (miss_two - miss_one) / (2 * WANTS)
        name = f"pipeline_batch_{batch}"
        known = baseline.get(name)
        if ctx.update:
            baseline[name] = round(per_want, 1)
        yield finish("G16", f"in-process want, batch {batch} (floor: perf/baseline.json)",
                     "instructions/want", [per_want], [known] if known and not ctx.update else None,
                     target_floor=None if ctx.update or not known else RISE_MAX,
                     note=f"{misses:.2f} last-level misses a want" +
                     ("" if known else "; no baseline yet"))
    if ctx.update:
        with open(BASELINE, "w") as f:
            json.dump(baseline, f, indent=1, sort_keys=True)
            f.write("\n")
