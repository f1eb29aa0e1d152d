#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A rule that never fires looks like a rule that holds: each one is broken here once."""

import contextlib
import io
import os
import re
import tempfile
import unittest
from pathlib import Path

import tidy

HEADER = (
    "/* SPDX-License-Identifier: MIT */\n#pragma once\n\n/* thing — what it is. */\n\n"
    "int thing(void);\n"
)
SOURCE = (
    '/* SPDX-License-Identifier: MIT */\n#include "store/thing.h"\n\n'
    "int thing(void) {\n    return 1;\n}\n"
)
SOUND = {
    "README.md": "# A house\n\nSee [the docs](docs/a.md#some-title).\n",
    "docs/a.md": "# Some title\n",
    "store/meson.build": "store_sources = files('thing.c')\n",
    "store/thing.h": HEADER,
    "store/thing.c": SOURCE,
    "tests/store/meson.build": "foreach name : ['thing']\nendforeach\n",
    "tests/store/test_thing.c": SOURCE.replace("return 1;", "return 2;"),
}


class Tidy(unittest.TestCase):
    def setUp(self):
        self.addCleanup(os.chdir, os.getcwd())
        self.addCleanup(setattr, tidy, "ALLOW", tidy.ALLOW)
        tidy.ALLOW = {}

    def rules(self, **changed):
        """The rules that a sound tree breaks once these files ('store/thing.c' ...) change."""
        with tempfile.TemporaryDirectory() as root:
            for name, text in {**SOUND, **changed}.items():
                path = Path(root, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                tidy.main([root])
            os.chdir("/")
        return set(re.findall(r"\[([\w-]+)\]$", said.getvalue(), re.MULTILINE)) - {"format"}

    def source(self, text):
        return self.rules(**{"store/thing.c": SOURCE.replace("    return 1;\n", text)})

    def test_a_sound_tree_breaks_none(self):
        self.assertEqual(self.rules(), set())

    def test_includes(self):
        for line, rule in (
            ('#include "rings/ring.h"', "folder-law"),
            ('#include "thing.h"', "folder-law"),
            ("#include <liburing.h>", "library-law"),
            ("#include <openssl/sha.h>", "library-law"),
        ):
            changed = SOURCE.replace('thing.h"\n', f'thing.h"\n{line}\n')
            self.assertEqual(self.rules(**{"store/thing.c": changed}), {rule}, line)
        changed = SOURCE.replace('#include "store', '#include "base/base.h"\n#include "store')
        self.assertEqual(self.rules(**{"store/thing.c": changed}), {"own-header-first"})

    def test_sizes(self):
        self.assertEqual(self.source("    thing();\n" * 68), set(), "70 lines are a function")
        self.assertEqual(self.source("    thing();\n" * 69), {"function-length"})
        self.assertEqual(self.source("    /* " + "x" * 100 + " */\n"), {"columns"})
        self.assertEqual(self.rules(**{"store/thing.c": SOURCE + "\n" * 800}), {"file-length"})
        self.assertEqual(self.rules(**{"tools/up": "#!/bin/sh\n# " + "x" * 100}), {"columns"})

    def test_words(self):
        for line, rule in (
            ("    return 1; // why", "comments"),
            ("    volatile int a = 1;", "volatile"),
            ("    char *p = malloc(1);", "banned-malloc"),
            ("    strcpy(a, b);", "banned-strcpy"),
            ("    assert(1);", "banned-assert"),
            ("    /* TODO */", "unfinished"),
            ("    /* see /" + "work/x */", "machine"),
        ):
            self.assertEqual(self.source(line + "\n"), {rule}, line)
        for line in (
            '"// malloc(1)"',
            "/* malloc(1) // */",
            "static_assert(1)",
            'asm volatile("")',
        ):
            self.assertEqual(self.source(f"    {line};\n"), set(), line)

    def test_contracts(self):
        for old, new, rule in (
            ("/* SPDX-License-Identifier: MIT */", "/* mine */", "spdx"),
            ("#pragma once", "#define ONCE", "contract"),
            ("/* thing — what it is. */", "/* what it is */", "contract"),
            ("/* thing —", "/* other —", "contract"),
        ):
            self.assertEqual(self.rules(**{"store/thing.h": HEADER.replace(old, new)}), {rule}, new)

    def test_files_that_nobody_builds_tests_or_links(self):
        self.assertEqual(self.rules(**{"store/meson.build": ""}), {"unbuilt"})
        self.assertEqual(
            self.rules(**{"tests/store/test_thing.c": "/* nothing */\n"}), {"untested", "spdx"}
        )
        self.assertEqual(self.rules(**{"docs/a.md": "# Another title\n"}), {"links"})
        self.assertEqual(self.rules(**{"README.md": "[gone](docs/b.md)\n"}), {"links"})
        self.assertEqual(self.rules(**{"README.md": "line\n" * 121}), {"readme"})

    def test_an_exception_that_is_not_needed_is_an_error(self):
        tidy.ALLOW = {("store/thing.c", "volatile"): "no reason"}
        self.assertEqual(self.rules(), {"allow"})


if __name__ == "__main__":
    unittest.main()
