#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Stores that cannot be opened, and disks that fill up: a sentence, an exit status, and nothing
lost.
"""

import os
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

import cases
import daemon
import tlv
from content import raw_block


def started_and_ended(d, seconds=20):
    """Starts a daemon that is expected to refuse; its exit status."""
    d.spawn()
    return d.wait(seconds)


class Opening(cases.Case):
    def test_a_second_daemon_on_one_store_is_refused_and_the_first_serves_on(self):
        first = self.daemon()
        second = self.daemon(first.directory, start=False)
        self.assertEqual(started_and_ended(second), 1)
        self.assertRegex(second.words(), "(?i)another|in use|locked")
        self.assertIn(str(first.process.pid), second.words())
        with tlv.Client(first.address) as c:
            self.assertKind(c.ping(), tlv.PONG)
        self.assertEqual(int((first.directory / "millrace.pid").read_text()), first.process.pid)
        self.assertTrue(first.ready(), "the admin socket is still the first one's")
        done = daemon.run("verify", "--store", first.directory)
        self.assertNotEqual(done.returncode, 0, "offline tools see the lock too")

    def test_a_port_that_is_taken_is_named(self):
        first = self.daemon()
        second = self.daemon(start=False)
        second.port = first.port
        self.assertEqual(started_and_ended(second), 1)
        self.assertIn(str(first.port), second.words())
        self.assertRegex(second.words(), "(?i)in use|taken")
        left = list(second.directory.glob("*")) if second.directory.exists() else []
        self.assertEqual(left, [], "no store is left behind")

    def test_a_directory_that_cannot_be_written(self):
        folder = self.scratch() / "locked"
        folder.mkdir()
        wrapper = []
        if os.geteuid() == 0:
            # Root may write anywhere, so the daemon runs as nobody.
            wrapper = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
            folder.parent.chmod(0o755)
            program = daemon.MILLRACE
            if (
                subprocess.run(
                    [*wrapper, str(program), "--version"], capture_output=True, check=False
                ).returncode
                != 0
            ):
                self.skipTest(
                    "root may write anywhere, and another user cannot reach the program to be run"
                )
        folder.chmod(0o555)
        d = self.daemon(folder, start=False, wrapper=wrapper)
        self.assertEqual(started_and_ended(d), 1)
        self.assertIn(str(folder), d.words())
        self.assertRegex(d.words(), "(?i)permission denied|not writable|cannot")
        folder.chmod(0o755)
        self.assertEqual(list(folder.iterdir()), [])

    def test_a_directory_that_is_a_file(self):
        path = self.scratch() / "file"
        path.write_text("not a store")
        d = self.daemon(path, start=False)
        self.assertIn(started_and_ended(d), (1, 2))
        self.assertIn(str(path), d.words())
        self.assertEqual(path.read_text(), "not a store")

    def store_of_blocks(self):
        d = self.daemon()
        block = raw_block(b"kept through all of it")
        with tlv.Client(d.address) as c:
            self.assertKind(c.put(block.mh, block.data), tlv.DONE)
        self.assertEqual(d.stop(), 0)
        return d, block

    def test_a_store_of_another_version_is_refused_and_left_alone(self):
        d, block = self.store_of_blocks()
        path = d.directory / "SUPER"
        good = path.read_bytes()
        path.write_bytes(other_version(good))
        before = snapshot(d.directory)
        self.assertEqual(started_and_ended(d), 4)
        self.assertRegex(d.words(), "(?i)version")
        self.assertEqual(snapshot(d.directory), before)
        path.write_bytes(good)
        d.start()
        with tlv.Client(d.address) as c:
            self.assertEqual(c.get(block.mh).body, block.data)

    def test_a_superblock_that_is_rubbish_is_refused_and_never_formatted_over(self):
        d, block = self.store_of_blocks()
        path = d.directory / "SUPER"
        good = path.read_bytes()
        path.write_bytes(random.Random(1).randbytes(len(good)))
        self.assertEqual(started_and_ended(d), 4)
        path.write_bytes(good)
        d.start()
        with tlv.Client(d.address) as c:
            self.assertEqual(c.get(block.mh).body, block.data)

    def test_one_good_superblock_slot_is_enough(self):
        d, block = self.store_of_blocks()
        path = d.directory / "SUPER"
        good = path.read_bytes()
        for slot in (0, 4096):
            with self.subTest(slot=slot):
                data = bytearray(good)
                data[slot : slot + 4096] = bytes(4096)
                path.write_bytes(data)
                d.start()
                with tlv.Client(d.address) as c:
                    self.assertEqual(c.get(block.mh).body, block.data)
                self.assertEqual(d.stop(), 0)
                good = path.read_bytes()

    def test_another_segment_size_than_it_was_made_with_is_refused_in_words(self):
        d, _ = self.store_of_blocks()
        d.flags = ["--segment-size", "8MiB"]
        self.assertIn(started_and_ended(d), (2, 4))
        self.assertRegex(d.words(), "(?i)segment")


def snapshot(folder):
    """Name -> bytes of what makes a store; pid file, socket, lock and log are not."""
    return {
        p.relative_to(folder): p.read_bytes()
        for p in folder.rglob("*")
        if p.suffix in (".seg", ".snap") or p.name == "SUPER"
    }


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def other_version(super_bytes):
    """The same superblock from a version of the future, with checksums that are right."""
    out = bytearray(super_bytes)
    for slot in range(0, len(out), 4096):
        page = out[slot : slot + 4096]
        if page[:4] != b"MSUR":
            continue
        assert int.from_bytes(page[4092:], "little") == crc32c(
            page[:4092]
        ), "the slot does not end in its CRC32C"
        page[4:6] = (99).to_bytes(2, "little")
        page[4092:] = crc32c(page[:4092]).to_bytes(4, "little")
        out[slot : slot + 4096] = page
    assert bytes(out) != super_bytes, "no slot was found"
    return bytes(out)


class FullDisk(cases.Case):
    """A file system of 48 MiB of its own: only root can mount one."""

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("a small file system needs root to mount")
        self.folder = Path(tempfile.mkdtemp(prefix="millrace-e2e-disk-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.mount = self.folder / "mount"
        self.mount.mkdir()
        image = self.folder / "image"
        with open(image, "wb") as file:
            file.truncate(64 << 20)
        made = subprocess.run(
            ["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], capture_output=True, check=False
        )
        how = ["-o", "loop", str(image)]
        if (
            made.returncode != 0
            or subprocess.run(
                ["mount", *how, str(self.mount)], capture_output=True, check=False
            ).returncode
            != 0
        ):
            how = ["-t", "tmpfs", "-o", "size=64m", "tmpfs"]
            done = subprocess.run(
                ["mount", *how, str(self.mount)], capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                self.skipTest(f"mount is not allowed here: {done.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", str(self.mount)], check=False)
        (self.mount / "store").mkdir()

    def test_full_refuses_puts_serves_reads_takes_deletes_and_forgets_nothing(self):
        d = self.daemon(self.mount / "store")
        stored, refused = [], 0
        source = random.Random(3)
        with tlv.Client(d.address, timeout=60) as c:
            for _ in range(200):
                block = raw_block(source.randbytes(1 << 20))
                reply = c.put(block.mh, block.data)
                if reply.kind == tlv.DONE:
                    stored.append(block)
                    refused = 0  # another core's log may have had room left
                elif reply.kind not in (tlv.BUSY, tlv.RETRY):
                    self.assertFault(reply, tlv.FULL)
                    refused += 1
                if refused == 16:
                    break
            self.assertEqual(refused, 16, "64 MiB took 200 MiB")
            self.assertGreater(len(stored), 20)
            for block in stored:
                self.assertEqual(c.get(block.mh).body, block.data)
            self.assertKind(c.delete(stored[0].mh), tlv.DONE, "a full store can still delete")
            self.assertKind(c.get(stored[0].mh), tlv.NOT_FOUND)
            self.assertGreater(d.ask("stat")["store"]["full"], 0)
        folder = self.scratch()
        (folder / "more").write_bytes(source.randbytes(1 << 20))
        done = d.run("put", folder / "more")
        self.assertExit(done, 1)
        self.assertRegex(done.stderr, "(?i)space|full")
        self.assertEqual(d.stop(), 0, d.words())
        d.start()
        with tlv.Client(d.address, timeout=60) as c:
            for block in stored[1:]:
                self.assertEqual(c.get(block.mh).body, block.data)
            self.assertKind(c.get(stored[0].mh), tlv.NOT_FOUND)

    def test_a_file_system_filled_by_somebody_else(self):
        d = self.daemon(self.mount / "store")
        block = raw_block(b"before the disk filled up")
        with tlv.Client(d.address, timeout=60) as c:
            self.assertKind(c.put(block.mh, block.data), tlv.DONE)
        with open(self.mount / "ballast", "wb") as ballast:
            try:
                while True:
                    ballast.write(bytes(1 << 16))
            except OSError:
                pass
        source = random.Random(4)
        with tlv.Client(d.address, timeout=60) as c:
            kinds = set()
            for _ in range(60):
                other = raw_block(source.randbytes(1 << 20))
                reply = c.put(other.mh, other.data)
                kinds.add((reply.kind, reply.code))
                if reply.kind == tlv.DONE:
                    self.assertEqual(c.get(other.mh).body, other.data)
            self.assertIn((tlv.FAULT, tlv.FULL), kinds)
            self.assertEqual(c.get(block.mh).body, block.data)
            (self.mount / "ballast").unlink()

            def room_again():
                other = raw_block(source.randbytes(1000))
                return c.put(other.mh, other.data).kind == tlv.DONE

            daemon.wait_for(room_again, "puts to be taken once there is room", 30)


if __name__ == "__main__":
    cases.main()
