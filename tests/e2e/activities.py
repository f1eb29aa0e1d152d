# SPDX-License-Identifier: MIT
"""What a daemon is killed in the midst of (killing.loop).

Each activity brings itself about, is seen to be under way by what stat or its task counts, and is
cut off a number of counted steps later that comes from the seed. Nothing waits for a time.
"""

import json
import random
import shutil
import signal
import tempfile
import threading
from pathlib import Path

import killing
import tlv
from content import CODEC_RAW, multihash, raw_block
from daemon import Daemon, run, wait_for


class Activity:
    """By itself: nothing but the writers of killing.loop."""

    flags = ()
    config = None
    steps = 40  # the kill comes after so many counted steps at most
    writer, writers = killing.Writer, 1

    def __init__(self, seed):
        self.source = random.Random(seed)
        self.counted = 0  # steps seen before kills
        self.problems = []
        self.ledger = self.lock = None  # of the loop

    def prepare(self, d, kill):
        """The daemon runs, and nobody writes yet."""

    def upset(self, d, kill):
        """Others write; returns when the kill is to come."""

    def prove(self, d, ledger, numbers):
        """The daemon is up again. Returns: the problems found."""
        return self.problems + killing.prove(d, ledger, numbers)

    def close(self):
        """What was made beside the store goes."""

    def pick(self):
        return self.source.randint(1, self.steps)

    def count(self, read, what):
        """Returns when `read` has grown by a number of steps."""
        first, steps = read(), self.pick()
        wait_for(lambda: read() >= first + steps, f"{steps} {what}", 60, pause=0.001)
        self.counted += steps

    def task(self, d, step, unit, command, **more):
        """Begins a task of the porter and returns in its midst, when `step` says so many units. One
        that was over before is begun again.
        """
        number = target = 0

        def reached():
            nonlocal number, target
            state = d.ask("task", task=number) if number else {"state": "done"}
            if state["state"] == "failed":
                self.problems.append(f"{command}: {state['why']}")
                return True
            if state["state"] == "done":
                if number:
                    self.over(state)
                self.begins()
                number, target = d.ask(command, **more)["task"], self.pick()
                return False
            return state[step] >= target * unit

        wait_for(reached, f"{command} to be under way", 60, pause=0.001)
        self.counted += target

    def begins(self):
        """A task is about to."""

    def over(self, state):
        """A task has ended."""


def upkeep(d, name):
    return d.ask("stat")["store"]["upkeep"][name]


class Reload(Activity):
    """A changed file and SIGHUP, again and again: all but the last were seen to be taken."""

    steps = 5
    text = 'net = {{ idle_timeout = "{}s"; stall_timeout = "{}s"; }};\n'

    def __init__(self, seed):
        super().__init__(seed)
        self.folder = Path(tempfile.mkdtemp(prefix="millrace-e2e-"))
        self.config = self.folder / "millrace.conf"
        self.config.write_text(self.text.format(60, 30))

    def upset(self, d, kill):
        taken = d.words().count("configuration reloaded")
        steps = self.pick()
        for turn in range(steps):
            new = self.config.with_suffix(".new")
            new.write_text(self.text.format(60 + kill + turn, 31 + turn))
            new.rename(self.config)
            d.signal(signal.SIGHUP)
            if turn + 1 < steps:
                wait_for(
                    lambda: d.words().count("configuration reloaded") > taken + turn,
                    "a reload",
                    pause=0.001,
                )
        self.counted += steps

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Snapshot(Activity):
    """Snapshots of the catalog follow one another without a pause; each takes a second, of which
    puts are the clock.
    """

    flags = ("--set", "store.snapshot_interval=1ms")
    steps = 400

    def look(self, d):
        """When the one that is being written was last written to, or None."""
        try:
            return (d.directory / "index" / "new").stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def prepare(self, d, kill):
        self.last = self.look(d)  # of the one that the last kill cut off

    def upset(self, d, kill):
        wait_for(lambda: self.look(d) not in (None, self.last), "a snapshot", 60, pause=0.001)
        self.count(lambda: d.ask("stat")["store"]["puts"], "puts beside a snapshot")


class Deleter(killing.Writer):
    """Deletes nearly as much as it writes."""

    deletes = 0.45


class Compaction(Activity):
    """Half of what is written goes: segments are rewritten."""

    flags = ("--set", "store.move_rate=0", "--memory", "1MiB")
    writer = Deleter

    def upset(self, d, kill):
        self.count(lambda: upkeep(d, "moves"), "blocks moved")


class Demotion(Activity):
    """More is written than the fast tier holds."""

    flags = ("--set", "store.move_rate=0", "--memory", "1MiB", "--ssd", "fast:24MiB")
    flags += ("--hdd", "slow")

    def upset(self, d, kill):
        self.count(lambda: d.ask("stat")["tiers"][2]["moved_in"], "blocks moved to the slow tier")


class Promotion(Activity):
    """What lies on the slow tier is read again and again, until it comes up."""

    common = ("--set", "store.move_rate=0", "--memory", "1MiB", "--hdd", "slow", "--ssd")
    flags = (*common, "fast:24MiB")
    roomy = (*common, "fast:2GiB")
    steps = 12

    def __init__(self, seed):
        super().__init__(seed)
        self.hot = []

    def below(self, d):
        return d.ask("stat")["tiers"][2]["blocks"]

    def prepare(self, d, kill):
        """Fills a small fast tier until enough lies on the slow one; then there is room above."""
        if self.hot and self.below(d) >= 200:
            return
        d.stop()
        d.flags = list(self.flags)
        d.start()
        self.hot = [raw_block(self.source.randbytes(12_000)) for _ in range(400)]
        with tlv.Client(d.address) as c:
            self.put(c, self.hot)
            while self.below(d) < 350:
                self.put(c, [raw_block(self.source.randbytes(300_000)) for _ in range(8)])
        d.stop()
        d.flags = list(self.roomy)
        d.start()

    def put(self, c, blocks):
        for block in blocks:
            wait_for(lambda: c.put(block.mh, block.data).kind == tlv.DONE, "a put")

    def look(self, d, blocks):
        with tlv.Client(d.address) as c:
            for index, reply in killing.ask_many(c, [block.mh for block in blocks]):
                if reply.kind != tlv.VALUE or reply.body != blocks[index].data:
                    self.problems.append(f"hot block {index}: {reply!r}")

    def upset(self, d, kill):
        at = 0

        def read():
            nonlocal at
            self.look(d, self.hot[at : at + 40])
            at = (at + 40) % len(self.hot)
            return upkeep(d, "promotions")

        self.count(read, "blocks moved to the fast tier")

    def prove(self, d, ledger, numbers):
        self.look(d, self.hot)
        return super().prove(d, ledger, numbers)


class Scrub(Activity):
    """All that is stored is read again."""

    flags = ("--set", "store.scrub_rate=8MiB", "--memory", "1MiB")
    steps = 25

    def upset(self, d, kill):
        self.task(d, "seen", 1, "scrub")


class Backup(Activity):
    """What the last whole backup holds is all that was acknowledged before it began, and of the one
    that was cut off there is either all or nothing.
    """

    steps = 8

    def __init__(self, seed):
        super().__init__(seed)
        self.folder = Path(tempfile.mkdtemp(prefix="millrace-e2e-"))
        self.whole = []  # what each is held against, by its number - 1
        self.mark = None

    def begins(self):
        with self.lock:
            self.mark = (
                dict(self.ledger.stored),
                dict(self.ledger.gone),
                {n: self.ledger.begun[n] for n in [*self.ledger.stored, *self.ledger.gone]},
            )

    def held_against(self):
        """A ledger of what was settled before it began, and that nobody touched until now."""
        out = killing.Ledger()
        stored, gone, begun = self.mark
        with self.lock:
            for there, to in ((stored, out.stored), (gone, out.gone)):
                for number, mh in there.items():
                    if self.ledger.begun[number] == begun[number]:
                        to[number] = mh
        return out

    def over(self, state):
        self.whole.append(self.held_against())

    def upset(self, d, kill):
        self.task(d, "bytes", 256 << 10, "backup", path=str(self.folder / "backup"))

    def prove(self, d, ledger, numbers):
        cut_off = self.held_against()
        made = self.folder / "made"
        done = run("restore", self.folder / "backup", "--store", made, "--json")
        if done.returncode != 0 and self.whole:
            self.problems.append(done.stdout + done.stderr)
        if done.returncode == 0:
            number = json.loads(done.stdout)["backup"]
            if number == len(self.whole) + 1:  # it was whole, though nobody was told
                self.whole.append(cut_off)
            if number != len(self.whole):
                self.problems.append(f"backup {number} of {len(self.whole)}")
            expected = self.whole[-1]
            with Daemon(made) as copy:
                chosen = [*expected.stored, *expected.gone]
                chosen = self.source.sample(chosen, min(1500, len(chosen)))
                found = killing.prove(copy, expected, chosen)
                self.problems += [f"backup {number}: {problem}" for problem in found]
        shutil.rmtree(made, ignore_errors=True)
        return super().prove(d, ledger, numbers)

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Pinner(threading.Thread):
    """Puts blocks, pins half of them and takes some pins back. Of the ledger, stored are those
    whose pin was acknowledged, gone those that nobody pinned.
    """

    def __init__(self, address, ledger, lock, first, step, seed):
        super().__init__(daemon=True)
        self.address, self.ledger, self.lock = address, ledger, lock
        self.number, self.step, self.source = first, step, random.Random(seed)
        self.acknowledged, self.problem = 0, None
        self.to_pin, self.pinned = [], []

    def settle(self, number, mh, where):
        with self.lock:
            self.ledger.settle(number, mh, where)

    def begin(self, c, asked, pinning):
        ask = c.next()
        if pinning < 3 and self.to_pin:
            number, mh = self.to_pin.pop()
            asked[ask] = (tlv.PIN, number, mh)
            return tlv.request(tlv.PIN, ask, CODEC_RAW.to_bytes(4, "big") + b"\2" + mh)
        if pinning < 3 and self.pinned and self.source.random() < 0.1:
            number, mh = self.pinned.pop(self.source.randrange(len(self.pinned)))
            self.settle(number, mh, self.ledger.unsure)
            asked[ask] = (tlv.UNPIN, number, mh)
            return tlv.request(tlv.UNPIN, ask, mh)
        number, self.number = self.number, self.number + self.step
        data = small(number)
        mh = multihash(data)
        self.settle(number, mh, self.ledger.unsure)
        asked[ask] = (tlv.PUT, number, mh)
        return tlv.put(ask, mh, data)

    def take(self, reply, kind, number, mh):
        if reply.kind in (tlv.BUSY, tlv.RETRY):
            if kind == tlv.PIN:
                self.to_pin.append((number, mh))
            elif kind == tlv.UNPIN:
                self.settle(number, mh, self.ledger.stored)
                self.pinned.append((number, mh))
            return
        # A block may be collected between its put and its pin.
        if reply.kind != tlv.DONE and (kind, reply.kind) != (tlv.PIN, tlv.NOT_FOUND):
            self.problem = f"block {number}: {reply!r}"
        elif kind == tlv.PUT and number % 2:
            self.to_pin.append((number, mh))
        elif kind == tlv.PIN and reply.kind == tlv.DONE:
            self.settle(number, mh, self.ledger.stored)
            self.pinned.append((number, mh))
            self.acknowledged += 1
        else:
            self.settle(number, mh, self.ledger.gone)
            self.acknowledged += 1

    def run(self):
        asked = {}
        try:
            with tlv.Client(self.address) as c:
                while not self.problem:
                    while len(asked) < killing.DEPTH:
                        pinning = sum(kind != tlv.PUT for kind, _, _ in asked.values())
                        c.send(self.begin(c, asked, pinning))
                    reply = c.read()
                    self.take(reply, *asked.pop(reply.id))
        except (tlv.Closed, OSError):
            pass


def small(number):
    return number.to_bytes(8, "big") + random.Random(number).randbytes(number % 900)


class Collection(Activity):
    """Collections beside puts, pins and unpins: no pin and no pinned block goes."""

    flags = ("--set", "gc.grace=0s")
    writer = Pinner

    def upset(self, d, kill):
        self.task(d, "blocks", 5, "gc", grace_ns=0)

    def pins(self, d):
        found, cursor = set(), 0
        while cursor is not None:
            answer = d.ask("pins", cursor=cursor)
            found |= {pin["cid"] for pin in answer["pins"]}
            cursor = answer.get("cursor")
        return found

    def prove(self, d, ledger, numbers):
        """All of them, each time: they are small."""
        out, pins = self.problems, self.pins(d)
        for number, mh in list(ledger.unsure.items()):
            pinned = raw_block(small(number)).text in pins
            ledger.settle(number, mh, ledger.stored if pinned else ledger.gone)
        expected = {raw_block(small(number)).text: number for number in ledger.stored}
        out += [f"the pin of block {expected[cid]} is lost" for cid in {*expected} - pins]
        out += [f"a pin that was taken back is there: {cid}" for cid in pins - {*expected}]
        both = [*ledger.stored.items(), *ledger.gone.items()]
        with tlv.Client(d.address, timeout=60) as c:
            for index, reply in killing.ask_many(c, [mh for _, mh in both]):
                number = both[index][0]
                if reply.kind == tlv.VALUE and reply.body != small(number):
                    out.append(f"block {number} came back different")
                elif number in ledger.stored and reply.kind != tlv.VALUE:
                    out.append(f"pinned block {number} is lost: {reply!r}")
                elif reply.kind not in (tlv.VALUE, tlv.NOT_FOUND):
                    out.append(f"block {number}: {reply!r}")
        for number in random.Random(len(both)).sample([*ledger.gone], len(ledger.gone) // 2):
            del ledger.gone[number]  # of those that may be gone half are enough
        return out
