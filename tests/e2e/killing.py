# SPDX-License-Identifier: MIT
"""The kill -9 loop: writers that remember what was acknowledged, a daemon that dies under them,
and the proof after.
"""

import random
import signal
import threading

import tlv
from content import multihash
from daemon import Daemon, wait_for

SIZES = (0, 1, 200, 4000, 16_000, 70_000, 300_000)
DEPTH = 24


def body(number):
    """The block of that number: bytes that can be made again, so that nothing has to be remembered
    but numbers.
    """
    source = random.Random(number)
    size = source.choice(SIZES)
    # Every fourth compresses well.
    return number.to_bytes(8, "big") + (source.randbytes(size) if number % 4 else bytes(size))


class Ledger:
    """What is known of every block: stored (put acknowledged), gone (delete acknowledged), or
    unsure (asked, no answer).
    """

    def __init__(self):
        self.stored, self.gone, self.unsure = {}, {}, {}
        self.begun = {}  # how often anything was asked of it

    def settle(self, number, mh, where):
        if where is self.unsure:
            self.begun[number] = self.begun.get(number, 0) + 1
        for state in (self.stored, self.gone, self.unsure):
            state.pop(number, None)
        where[number] = mh


class Writer(threading.Thread):
    """Puts new blocks, deletes old ones and puts deleted ones again, DEPTH at a time, until the
    daemon is gone.
    """

    deletes = 0.25

    def __init__(self, address, ledger, lock, first, step, seed):
        super().__init__(daemon=True)
        self.address, self.ledger, self.lock = address, ledger, lock
        self.number, self.step, self.source = first, step, random.Random(seed)
        self.acknowledged, self.problem = 0, None

    def begin(self, c, mine, graves, pending):
        if mine and self.source.random() < self.deletes:
            number = mine.pop(self.source.randrange(len(mine)))
            with self.lock:
                mh = self.ledger.stored[number]
                self.ledger.settle(number, mh, self.ledger.unsure)
            ask = c.next()
            pending[ask] = (number, mh, True)
            return tlv.request(tlv.DELETE, ask, mh)
        if graves and self.source.random() < 0.2:
            number = graves.pop(self.source.randrange(len(graves)))
        else:
            number, self.number = self.number, self.number + self.step
        data = body(number)
        mh = multihash(data)
        with self.lock:
            self.ledger.settle(number, mh, self.ledger.unsure)
        ask = c.next()
        pending[ask] = (number, mh, False)
        return tlv.put(ask, mh, data)

    def run(self):
        pending = {}
        with self.lock:
            mine, graves = (
                [n for n in state if n % self.step == self.number % self.step]
                for state in (self.ledger.stored, self.ledger.gone)
            )
        try:
            with tlv.Client(self.address) as c:
                while True:
                    while len(pending) < DEPTH:
                        c.send(self.begin(c, mine, graves, pending))
                    reply = c.read()
                    number, mh, deleting = pending.pop(reply.id)
                    if reply.kind in (tlv.BUSY, tlv.RETRY):
                        with self.lock:  # refused before any work: as it was
                            self.ledger.settle(
                                number, mh, self.ledger.stored if deleting else self.ledger.gone
                            )
                        continue
                    if reply.kind != tlv.DONE:
                        self.problem = f"block {number}: {reply!r}"
                        return
                    with self.lock:
                        self.ledger.settle(
                            number, mh, self.ledger.gone if deleting else self.ledger.stored
                        )
                        self.acknowledged += 1
                    (graves if deleting else mine).append(number)
        except (tlv.Closed, OSError):
            pass


def ask_many(c, mhs):
    """The reply to a get of each, DEPTH at a time, as (index, reply)."""
    sent = read = 0
    while read < len(mhs):
        while sent < len(mhs) and sent - read < DEPTH:
            c.send(tlv.get(sent, mhs[sent]))
            sent += 1
        reply = c.read()
        yield reply.id, reply
        read += 1


def prove(d, ledger, numbers):
    """Problems found in these blocks: acknowledged ones that are missing or different, deleted
    ones that are back.
    """
    problems = []
    numbers = [n for n in numbers if n in ledger.stored or n in ledger.gone or n in ledger.unsure]
    known = {**ledger.stored, **ledger.gone, **ledger.unsure}
    with tlv.Client(d.address, timeout=60) as c:
        for index, reply in ask_many(c, [known[n] for n in numbers]):
            number = numbers[index]
            if reply.kind == tlv.VALUE and reply.body != body(number):
                problems.append(f"block {number} came back different")
            elif number in ledger.stored and reply.kind != tlv.VALUE:
                problems.append(f"acknowledged block {number} is lost: {reply!r}")
            elif number in ledger.gone and reply.kind != tlv.NOT_FOUND:
                problems.append(f"deleted block {number} is back: {reply!r}")
            elif number in ledger.unsure:
                if reply.kind not in (tlv.VALUE, tlv.NOT_FOUND):
                    problems.append(f"block {number}: {reply!r}")
                # From here on it must stay what it turned out to be.
                ledger.settle(
                    number, known[number], ledger.stored if reply.kind == tlv.VALUE else ledger.gone
                )
    return problems


def loop(kills, seed, flags=(), writers=2, report=None, activity=None):
    """Kills a daemon so many times under load, in the midst of an activity (activities.py) where
    one is given. Returns (problems, acknowledged, blocks proven).
    """
    source = random.Random(seed)
    ledger, lock = Ledger(), threading.Lock()
    acknowledged = proven = 0
    problems = []
    next_number = 1
    config, make, check = None, Writer, prove
    if activity:
        flags, config = [*flags, *activity.flags], activity.config
        make, check, writers = activity.writer, activity.prove, activity.writers
        activity.ledger, activity.lock = ledger, lock
    with Daemon(flags=flags, segment="4MiB", config=config) as d:
        for kill in range(1, kills + 1):
            if activity:
                activity.prepare(d, kill)
            threads = [
                make(d.address, ledger, lock, next_number + i, writers, source.random())
                for i in range(writers)
            ]
            for thread in threads:
                thread.start()
            # Not a fixed time: the kill comes after a number of acknowledgements drawn for this
            # round, or where the activity says.
            target = source.choice((1, 5, 20, 60, 150))
            wait_for(
                lambda: sum(t.acknowledged for t in threads) >= target
                or any(t.problem for t in threads),
                "acknowledgements",
                60,
            )
            if activity and not any(t.problem for t in threads):
                activity.upset(d, kill)
            d.signal(signal.SIGKILL)
            d.process.wait()
            for thread in threads:
                thread.join(30)
            acknowledged += sum(t.acknowledged for t in threads)
            problems += [t.problem for t in threads if t.problem]
            next_number = max(t.number for t in threads) + writers
            d.start()
            recent = [n for n in range(max(1, next_number - 1500), next_number)]
            older = source.sample(range(1, next_number), min(300, next_number - 1))
            chosen = range(1, next_number) if kill == kills else sorted({*recent, *older})
            problems += [f"kill {kill}: {p}" for p in check(d, ledger, chosen)]
            proven += len(chosen)
            if report:
                report(
                    f"kill {kill}/{kills}: {acknowledged} acknowledged, "
                    f"{len(ledger.stored)} stored, {len(problems)} problems"
                )
            if problems:
                break
        if not problems and d.stop() != 0:
            problems.append("the last, orderly stop failed: " + d.words()[-500:])
    return problems, acknowledged, proven
