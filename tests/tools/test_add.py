#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""add and cat: files and directories under the CIDs that Kubo 0.42 gave the same content, and out
again byte for byte; servers that are busy, full, wrong or gone; DAGs that are no files.

    test_add.py PATH/TO/millrace

Covers tools/millrace/adder.c, tools/millrace/tree.c, tools/millrace/cmd_add.c,
tools/millrace/reader.c and tools/millrace/cmd_cat.c.
"""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import transfer  # first: it finds the folder of the others
from transfer import BLOCK_MAX, MILLRACE, Case

import content
import tlv
from content import CODEC_DAG_CBOR, CODEC_DAG_PB, IDENTITY, Block, raw_block, varint

EMPTY = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
FILE, DIRECTORY, SYMLINK = 2, 1, 4


def seeded(size):
    return random.Random(size).randbytes(size)


# What `ipfs add --cid-version 1` of Kubo 0.42 says of seeded(size).
ROOTS = {
    0: EMPTY,
    1: "bafkreiekgmp53zydf4z2ohq3fysx3aawny2i4ah4wf4rj5el3nl2drrqa4",
    262144: "bafkreih2bk74eu5axngebs6vftmmkcaqboysjjy726xzy5hksnqmfgw5fy",
    262145: "bafybeidbbs6ocod3v27jtr4uhvc6n55y3gbrtur3bvjsnraudtbxkozi2y",
    45_000_000: "bafybeifzzeen6frvjmcnpmfpppq6tihhs5wonb3v4weyxocazpwlgp755u",
}
# Of seeded(2_000_000), with --chunker.
CHUNKED = {
    "size-1000": "bafybeicicnysbahhgr5wvm3yqt5g5hyrtfenbidszbgs6wffhv55gh3pd4",
    "buzhash": "bafybeigfrrgc2bebgaqehm5tfnezwfrsjh3urx7igq4ytkn2hsgynl7g6q",
    "rabin": "bafybeiehbcdkkk4uakigowcarwpuzm6qj5ozec5epm2hnga3coeqf5f24a",
    "rabin-4096-8192-16384": "bafybeihjd4q7xhubk57leh6iq7qlv6vpiuhoeu3t54yx2jxoz56hkzrvyu",
    "size-1048576": "bafybeig6e4qvz22j6r3xyq3pcdyrjelqg4iqs2cqns53sbobpogo5web7q",
}


class Add(Case):
    def add(self, *arguments, status=0, stdin=b""):
        out, err = self.run_(status, "add", *arguments, stdin=stdin)
        return out.decode().splitlines() if status == 0 else (out.decode(), err)

    def cat(self, cid, *arguments):
        return self.run_(0, "cat", cid, *arguments)[0]

    def test_files_get_the_cids_of_kubo_and_come_back(self):
        for size, root in ROOTS.items():
            with self.subTest(size=size):
                data = seeded(size)
                self.assertEqual(
                    self.add(self.file(data, "a file")), [f"added {root} a file", root]
                )
                self.assertTrue(self.server.sound)
                self.assertTrue(self.cat(root) == data)

    def test_every_chunker_gives_the_cids_of_kubo(self):
        data = seeded(2_000_000)
        file = self.file(data, "f")
        for plan, root in CHUNKED.items():
            with self.subTest(plan=plan):
                self.assertEqual(self.add("-Q", "--chunker", plan, file), [root])
                self.assertTrue(self.cat(root) == data)

    def test_roots_are_pinned_unless_it_is_not_wanted(self):
        a, b = self.file(seeded(1), "a"), self.file(seeded(262145), "b")
        self.add("--pin=false", a, b)
        self.assertEqual(self.server.pins, set())
        self.add(a, b)
        self.assertEqual(len(self.server.pins), 2)
        self.assertTrue(self.server.pins <= set(self.server.blocks))
        self.add("-w", a, b)
        self.assertEqual(len(self.server.pins), 3)
        self.add("--pin", "maybe", a, status=2)

    def test_version_0_and_its_leaves(self):
        data = seeded(2_000_000)
        file = self.file(data, "f")
        for flags, root in (
            ((), "QmbMystaUpWPUu2CJnhSNzzak1QggdZ2GGGQAeTisGNhky"),
            (("--raw-leaves",), "QmRYLEcnBV3AtUqiUHG45wfvP6is1FzxnDDt4wbvK1du1z"),
        ):
            self.assertEqual(self.add("-Q", "--cid-version", 0, *flags, file), [root])
            self.assertTrue(self.cat(root) == data)
        self.assertEqual(
            self.add("-Q", "--cid-version", 0, "-"),
            ["QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"],
        )

    def test_stdin_is_a_file_however_it_comes(self):
        data = seeded(262145)
        root = ROOTS[262145]
        self.assertEqual(self.add("-", stdin=data), [f"added {root} {root}", root])
        to = "127.0.0.1:%d" % self.server.server_address[1]
        command = [MILLRACE, "add", "-Q", "--to", to, "-"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as slow:
            for at in range(0, len(data), 7001):
                slow.stdin.write(data[at : at + 7001])
                slow.stdin.flush()
            out, _ = slow.communicate()
        self.assertEqual(out.decode(), root + "\n")

    def make_tree(self):
        top = self.folder / "d1"
        (top / "a").mkdir(parents=True)
        (top / "b").mkdir()
        for name, data in (("a/f", b"f"), ("ab", b"x"), ("a-b", b"y"), ("Z \u00fc", b"z")):
            (top / name).write_bytes(data)
        (top / "l").symlink_to("a/f")
        return top

    def test_a_directory_gets_the_cids_of_kubo(self):
        top = self.make_tree()
        lines = self.add(top)
        self.assertEqual(
            lines,
            [
                "added bafkreiczjzizvzezgevssqz3pxmks77qndppzouxkw3nluaoqtcsjvt3ay d1/Z \u00fc",
                "added bafkreibff4imqnqq5pfbubm4boxievplul4vxzgr266pvcoxesfifwprce d1/a/f",
                "added bafybeiam4eaeairsf57e4gvlzcy65j6z6aarljkygsd4uqwo4amdkefmty d1/a",
                "added bafkreifb7tsdmocu76eiz72lrz4hlvqayjuchecbfkgppgzx2cyrcsfq7i d1/a-b",
                "added bafkreibnoelefnzgwbcacyt4vh52ymxvzbjq7mmqhtcnwarfq4lzegsiqe d1/ab",
                "added bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354 d1/b",
                "added bafybeibswbd3ma7ectflsqowkpqdr7phz6ucr4aumznpgppzc2dt2tj3fy d1/l",
                "added bafybeieeowramic2iua3mbjidvioxp4ox55srdhxfr2p4gl2sooaiozli4 d1",
                "bafybeieeowramic2iua3mbjidvioxp4ox55srdhxfr2p4gl2sooaiozli4",
            ],
        )
        old = "QmWATppL7hVqfgFfCSqrF1msC23rKjAkEWVEA3WxQ6DJTC"
        self.assertEqual(self.add("-Q", "--cid-version", 0, top), [old])
        self.assertEqual(self.add("-Q", f"{top}/"), lines[-1:])
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(top)
        self.assertEqual(self.add("."), lines)

    def test_what_begins_with_a_dot_is_left_out_unless_asked_for(self):
        top = self.make_tree()
        plain = self.add("-Q", top)
        (top / ".hidden").write_bytes(b"h")
        (top / ".more").mkdir()
        self.assertEqual(self.add("-Q", top), plain)
        lines = self.add("-H", top)
        self.assertEqual(
            [line.split(" ", 2)[2] for line in lines[:2]], ["d1/.hidden", "d1/.more"]
        )
        self.assertNotEqual(lines[-1:], plain)
        self.assertEqual(self.add(top / ".hidden")[0].split()[2], ".hidden")

    def test_a_directory_of_eight_thousand_is_spread_as_kubo_spreads_it(self):
        top = self.folder / "many"
        top.mkdir()
        for i in range(8000):
            (top / f"name-{i + 1}").touch()
        for version, root in (
            (1, "bafybeifcyk6fzyb4vhv2yyghkvniwigdpuuwsr3mcgum4pn72bejdwa47u"),
            (0, "QmTRmPHntteAtyjBgi2L69orJVBGwGPEYb3az9FBkTHjP6"),
        ):
            self.assertEqual(self.add("-Q", "--cid-version", version, top), [root])

    def test_a_directory_is_spread_above_256_kib_and_not_at_it(self):
        for extra, root in (
            (44, "bafybeidabwe3wrqx2oltpgkulhqyacyuxgegaac422g6jmjg7daoqddkz4"),
            (45, "bafybeibq3asurk24mhmgaruwwb5dszd24ljch7esln4l7b7d27ue2ld5xy"),
        ):
            top = self.folder / f"edge{extra}"
            top.mkdir()
            for i in range(5956):
                (top / f"n{i:07d}").touch()
            (top / ("x" * extra)).touch()
            self.assertEqual(self.add("-Q", top), [root])

    def test_wrapping_makes_one_root_over_all_arguments(self):
        a, b = self.file(b"a", "a"), self.file(b"b", "b")
        lines = self.add("-w", b, a, a)
        root = "bafybeih6ejze2bhmhgrcjrgkccggjggecyj7sc5zsjftqsyjtmo5xwsaam"
        self.assertEqual(lines[-2:], [f"added {root} ", root])
        (self.folder / "other").mkdir()
        other = self.file(b"not a", "other/a")
        self.assertIn("called a", self.add("-w", a, other, status=2)[1])
        root = "bafybeifl6xnfsxfnauds5qyuqbmfmdsczyocq7bxcx6vxuk27xhmmn3zk4"
        self.assertEqual(self.add("-w", "-", stdin=b"foo")[-1], root)

    def test_several_arguments_have_several_roots(self):
        a, b = self.file(b"a", "a"), self.file(b"b", "b")
        roots = [raw_block(b"a").text, raw_block(b"b").text]
        self.assertEqual(self.add("-Q", a, b), roots)
        self.assertEqual(
            self.add(a, b), [f"added {roots[0]} a", f"added {roots[1]} b", *roots]
        )

    def test_names_cannot_forge_lines(self):
        file = self.file(b"x", "a\nadded \x1b[2J")
        self.assertEqual(self.add(file)[0].split(" ", 2)[2], "a\\x0aadded \\x1b[2J")

    def test_pipes_that_are_handed_over_are_read_and_named_ones_refused(self):
        top = self.folder / "d"
        top.mkdir()
        os.mkfifo(top / "pipe")
        # As an argument too: nobody may be at its other end.
        for name in (top, top / "pipe"):
            _, err = self.add(name, status=1)
            self.assertIn("d/pipe: neither a file, a directory nor a symbolic link", err)
        to = "127.0.0.1:%d" % self.server.server_address[1]
        read, write = os.pipe()
        os.write(write, b"through a pipe")
        os.close(write)
        done = subprocess.run(
            [MILLRACE, "add", "-Q", "--to", to, f"/dev/fd/{read}"],
            stdout=subprocess.PIPE,
            pass_fds=[read],
            check=True,
        )
        os.close(read)
        self.assertEqual(done.stdout.decode(), raw_block(b"through a pipe").text + "\n")

    def test_a_symbolic_link_is_added_as_one_wherever_it_leads(self):
        link = self.folder / "l"
        link.symlink_to("nowhere")
        root = self.add(link)[-1]
        self.assertIn(
            "symbolic link to 'nowhere'", self.run_(2, "cat", root)[1]
        )

    def test_every_third_request_meets_busy_and_all_of_it_arrives(self):
        self.server.mood = {"busy_every": 3}
        data = seeded(2_000_000)
        root = CHUNKED["rabin-4096-8192-16384"]
        file = self.file(data, "f")
        self.assertEqual(self.add("--chunker", "rabin-4096-8192-16384", file)[-1], root)
        self.assertGreater(self.server.busy, 50)
        self.assertTrue(self.cat(root) == data)

    def test_a_full_server_ends_it_with_1_and_no_root(self):
        self.server.mood = {"refuse_all": tlv.FULL}
        out, err = self.add(self.file(seeded(262145)), status=1)
        self.assertEqual(out, "")
        self.assertIn("the daemon did not take it", err)

    def test_what_is_not_stored_is_not_said_to_be_added(self):
        names = ["a", "b", "c"]
        top = self.folder / "d"
        top.mkdir()
        for name in names:
            (top / name).write_bytes(name.encode())
        self.server.mood = {"refuse": {raw_block(b"b").mh}}
        out, err = self.add(top, status=4)
        self.assertIn(raw_block(b"b").text, err)
        self.assertTrue(set(out.split("\n")) <= {f"added {raw_block(b'a').text} d/a", ""})

    def test_a_server_that_goes_away_is_told(self):
        self.server.mood = {"close_after": 20}
        out, err = self.add("--chunker", "size-1000", self.file(seeded(262145)), status=1)
        self.assertEqual(out, "")
        self.assertIn("the add broke off", err)

    def test_what_cannot_be_read_is_told_by_name(self):
        out, err = self.add(self.folder / "none", status=1)
        self.assertIn("none: No such file", err)
        self.assertEqual(out, "")

    def test_chunks_larger_than_the_server_takes_are_refused_before_anything_is_sent(self):
        file = self.file(b"x")
        for flags in (
            ("--chunker", f"size-{BLOCK_MAX + 1}"),
            ("--cid-version", 0, "--chunker", f"size-{BLOCK_MAX}"),
            ("--chunker", f"rabin-1000-2000-{BLOCK_MAX + 1}"),
        ):
            self.assertIn(str(BLOCK_MAX), self.add(*flags, file, status=2)[1])
        self.assertEqual(self.server.blocks, {})

    def test_wishes_that_make_no_sense_are_usage(self):
        for flags in (
            ("--chunker", "size-0"),
            ("--chunker", "fastcdc"),
            ("--cid-version", "2"),
        ):
            self.add(*flags, "-", status=2)

    def test_memory_does_not_grow_with_the_file(self):
        version = subprocess.run([MILLRACE, "version"], stdout=subprocess.PIPE, check=True)
        if b"sanitize=none" not in version.stdout:
            self.skipTest("a sanitizer's shadow is larger than the program")
        self.server.mood = {"forget": True}
        to = "127.0.0.1:%d" % self.server.server_address[1]
        piece = bytes(1 << 20)
        with subprocess.Popen(
            [MILLRACE, "add", "-Q", "--to", to, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as adding:
            for _ in range(300):
                adding.stdin.write(piece)
            adding.stdin.flush()
            status = Path(f"/proc/{adding.pid}/status").read_text()
            adding.communicate()
        self.assertEqual(adding.returncode, 0)
        peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
        self.assertLess(peak, 80_000)  # the flight is 32 MiB of it


def data_of(kind, inside=None, sizes=(), filesize=None):
    """A UnixFS message."""
    out = b"\x08" + varint(kind)
    if inside is not None:
        out += b"\x12" + varint(len(inside)) + inside
    if filesize is not None:
        out += b"\x18" + varint(filesize)
    return out + b"".join(b"\x20" + varint(size) for size in sizes)


def node(parts, kind=FILE, inside=None, version=1):
    """A dag-pb block over (block, size of its content)."""
    whole = len(inside or b"") + sum(size for _, size in parts)
    data = data_of(kind, inside, [size for _, size in parts], whole)
    links = [(block.cid, len(block.data)) for block, _ in parts]
    return Block(CODEC_DAG_PB, content.dag_pb(links, data), version=version)


class Cat(Case):
    def cat(self, root, *arguments, status=0):
        out, err = self.run_(status, "cat", root.text, *arguments)
        return out if status == 0 else (out, err)

    def dag(self):
        """A root and its content: leaves of every kind, at several depths."""
        a, b = raw_block(seeded(1000)), raw_block(seeded(5000))
        leaf = node([], inside=b"a leaf that is a node")
        inline = Block(content.CODEC_RAW, b"inside its own CID", code=IDENTITY)
        inner = node([(a, 1000), (leaf, 21), (b, 5000)], inside=b"before its parts")
        old = node([(inner, 6037), (inline, 18)], version=0)
        root = node([(inner, 6037), (old, 6055), (raw_block(b""), 0), (a, 1000), (inner, 6037)])
        self.hold([a, b, leaf, inner, old, root])
        content_inner = b"before its parts" + a.data + b"a leaf that is a node" + b.data
        return root, content_inner * 2 + inline.data + a.data + content_inner

    def test_leaves_of_every_kind_come_in_order(self):
        root, data = self.dag()
        self.assertEqual(self.cat(root), data)
        self.server.mood = {"busy_every": 2}
        self.assertEqual(self.cat(root), data)

    def test_any_part_of_it_is_what_lies_there(self):
        root, data = self.dag()
        size = len(data)
        source = random.Random(5)
        cuts = [(0, 0), (0, 1), (size, 1), (size - 1, 9), (1016, 21), (6037, 6037)]
        cuts += [(source.randrange(size), source.randrange(1, 9000)) for _ in range(25)]
        for at, count in cuts:
            with self.subTest(at=at, count=count):
                part = self.cat(root, "--offset", at, "--length", count)
                self.assertEqual(part, data[at : at + count])
        self.assertEqual(self.cat(root, "--offset", 7000), data[7000:])

    def test_what_lies_outside_is_not_fetched(self):
        parts = [raw_block(seeded(1000 + i)) for i in range(50)]
        root = node([(b, len(b.data)) for b in parts])
        self.hold([root, parts[20], parts[21]])
        at = sum(len(b.data) for b in parts[:20])
        data = self.cat(root, "--offset", at, "--length", 2041)
        self.assertEqual(data, parts[20].data + parts[21].data)

    def test_past_the_end_is_usage_and_says_the_size(self):
        root, data = self.dag()
        _, err = self.cat(root, "--offset", len(data) + 1, status=2)
        self.assertIn(f"it has {len(data)} bytes", err)
        for wrong in ("-1", "x", "1q", "99999999999999999999"):
            self.cat(root, "--offset", wrong, status=2)
        self.cat(root, "--length", "", status=2)

    def test_a_raw_block_is_a_file(self):
        block = raw_block(b"raw")
        self.hold([block])
        self.assertEqual(self.cat(block), b"raw")
        self.assertEqual(self.cat(block, "--offset", 1), b"aw")
        self.assertEqual(self.cat(Block(content.CODEC_RAW, b"inline", code=IDENTITY)), b"inline")

    def test_a_file_gets_its_name_when_it_is_whole(self):
        root, data = self.dag()
        out = self.folder / "out"
        self.cat(root, "-o", out)
        self.assertEqual(out.read_bytes(), data)
        missing = raw_block(b"missing")
        broken = node([(raw_block(b""), 0), (missing, 7)])
        self.hold([broken])
        self.cat(broken, "-o", self.folder / "other", status=3)
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["out"])

    def test_a_missing_block_is_3_and_named(self):
        missing = raw_block(b"missing")
        a = raw_block(b"a")
        root = node([(a, 1), (missing, 7)])
        self.hold([a, root])
        _, err = self.cat(root, status=3)
        self.assertIn(f"{missing.text}: not found", err)
        self.cat(raw_block(b"nowhere"), status=3)

    def test_a_block_that_lies_is_4_and_nothing_of_it_is_given(self):
        a, b = raw_block(b"good"), raw_block(b"bad!")
        root = node([(a, 4), (b, 4)])
        self.hold([a, b, root])
        self.server.mood = {"lie": {b.mh}}
        out, err = self.cat(root, status=4)
        self.assertEqual(out, b"good")
        self.assertIn(b.text, err)

    def test_sizes_that_do_not_agree_are_damage(self):
        a = raw_block(b"four")
        inner = node([(a, 4)])
        uneven = [[(a, 3)], [(a, 5)], [(inner, 5)], [(a, 4), (inner, 3)]]
        for wrong in map(node, uneven):
            self.hold([a, inner, wrong])
            self.assertIn("another number of bytes", self.cat(wrong, status=4)[1])

    def test_what_is_no_unixfs_is_damage(self):
        for data in (b"", b"\x0a\x00", b"no protobuf", content.dag_pb([], b"\x08\x09")):
            block = Block(CODEC_DAG_PB, data)
            self.hold([block])
            self.assertIn("not a UnixFS node", self.cat(block, status=4)[1])

    def test_directories_links_and_other_codecs_are_refused_with_a_word(self):
        a = raw_block(b"a")
        directory = Block(CODEC_DAG_PB, content.dag_pb([(a.cid, 1)], data_of(DIRECTORY)))
        shard = Block(CODEC_DAG_PB, content.dag_pb([], data_of(5, b"\x01")))
        symlink = Block(CODEC_DAG_PB, content.dag_pb([], data_of(SYMLINK, b"a\nb")))
        cbor = Block(CODEC_DAG_CBOR, b"\xa0")
        below = node([(directory, 1)])
        self.hold([a, directory, shard, symlink, cbor, below])
        self.assertIn("is a directory", self.cat(directory, status=2)[1])
        self.assertIn("is a directory", self.cat(shard, status=2)[1])
        self.assertIn("is a directory", self.cat(below, status=2)[1])
        self.assertIn("symbolic link to 'a\\x0ab'", self.cat(symlink, status=2)[1])
        self.assertIn("is dag-cbor, not a file", self.cat(cbor, status=2)[1])

    def test_a_chain_without_end_is_given_up(self):
        block = raw_block(b"x")
        self.hold([block])
        for _ in range(70):
            block = node([(block, 1)])
            self.hold([block])
        self.assertIn("more nodes above each other", self.cat(block, status=4)[1])

    def test_a_wide_node_of_nothing_costs_nothing(self):
        block = raw_block(b"x")
        self.hold([block])
        for _ in range(40):  # two to the fortieth empty parts
            block = node([(block, 0), (block, 0)])
            self.hold([block])
        self.assertEqual(self.cat(block), b"")

    def test_a_server_that_goes_away_is_told(self):
        root, _ = self.dag()
        self.server.mood = {"close_after": 3}
        self.assertIn("cat broke off", self.cat(root, status=1)[1])

    def test_a_pipe_nobody_reads_is_a_failure(self):
        root, _ = self.dag()
        to = "127.0.0.1:%d" % self.server.server_address[1]
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [MILLRACE, "cat", root.text, "--to", to], stdout=full, stderr=subprocess.PIPE
            )
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"No space left", done.stderr)


if __name__ == "__main__":
    sys.exit(transfer.main())
