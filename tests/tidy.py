#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The rules of the house that a compiler does not know, as a test.

usage: tidy.py [ROOT]            prints file:line: what is wrong; exit 1 where anything is

An exception stands in ALLOW with its reason; one that is no longer needed is itself an error, so
the list only holds what is true. Nothing here counts down from an old number: a rule holds
or it fails.
"""

import os
import re
import shutil
import subprocess
import sys

PRODUCT = ("base", "rings", "proto", "store", "engine", "tools")
FOLDERS = PRODUCT + ("tests", "perf")
LINES_MAX, FUNCTION_MAX, COLUMNS_MAX, README_MAX = 800, 70, 100, 120

# Who may include whom: lower folders never see upper ones; rings, proto and store never see each
# other.
MAY_INCLUDE = {
    "base": {"base"},
    "rings": {"base", "rings"},
    "proto": {"base", "proto"},
    "store": {"base", "store"},
    "engine": {"base", "rings", "proto", "store", "engine"},
    "tools": set(PRODUCT),
    "tests": set(FOLDERS),
    "perf": set(FOLDERS) - {"tests"},
}
# Libraries: header prefix -> the only product files or folders that may include it.
LIBRARIES = {
    "liburing": ("engine/io.", "tools/load/"),  # the generator is a program of its own
    "ck_ring": ("rings/ring.",),
    "ck_": ("rings/", "store/"),
    "jemalloc/": ("engine/", "base/mem."),
    "openssl/": (
        "base/hash.",
        "engine/crypto_heap.",
        "proto/libp2p/crypto.",
        "proto/libp2p/keys.",
        "proto/libp2p/tls_cert.",
        "proto/libp2p/tls_hand.",
    ),
    "blake2": ("base/hash.",),
    "xxhash": ("base/", "store/", "engine/swarm/"),
    "zstd": ("store/",),
    "hwloc": ("engine/",),
    "seccomp": ("engine/",),
    "systemd/": ("engine/", "base/log."),
    "jansson": ("engine/", "tools/"),
    "libconfig": ("engine/", "tools/"),
    "ncurses": ("tools/",),
    "curses": ("tools/",),
    "pthread": ("engine/", "store/", "tools/"),
}
# Calls that have no place in the product, and those that have none in the folders of the data path.
BANNED = (
    "strcpy strcat sprintf vsprintf gets usleep sleep alloca assert atoi strtok getenv setjmp "
    "system"
).split()
BANNED_DATA_PATH = (
    "malloc calloc realloc reallocarray strdup strndup asprintf free printf fprintf puts perror"
).split()
DATA_PATH = ("engine", "rings", "store", "proto")
# Boot, the control thread and the helper: never on a tile, so heap and stdio are theirs.
CONTROL_SIDE = (
    "engine/admin.",
    "engine/control.",
    "engine/engine.",
    "engine/helper.",
    "engine/stat.",
    "engine/swarm/desk.",
    "engine/tasks.",
    "engine/swarm/front.",
    "engine/swarm/resolve.",
    "engine/why.",
)
BANNED_TESTS = "strcpy strcat sprintf gets usleep sleep".split()

# (path, rule): reason. Rules are the names that messages end with.
ALLOW = {
    ("engine/arena.c", "banned-free"): "boot memory, and bodies where there is no jemalloc",
    ("engine/arena.c", "banned-malloc"): "libcrypto's memory where there is no jemalloc",
    ("engine/arena.c", "banned-realloc"): "as malloc",
    ("engine/heap.c", "banned-malloc"): "it is malloc: counts what the sealed heap is asked for",
    ("engine/heap.c", "banned-calloc"): "as malloc",
    ("engine/heap.c", "banned-realloc"): "as malloc",
    ("engine/heap.c", "banned-free"): "as malloc",
    (
        "base/log.c",
        "banned-getenv",
    ): "JOURNAL_STREAM is how systemd says that stderr is the journal; nothing is configured by it",
    (
        "tools/millrace/cli.c",
        "banned-getenv",
    ): "MILLRACE_TO and MILLRACE_ADMIN stand in for flags of commands; the daemon reads neither",
}

# An absolute path names somebody's machine unless every Linux host has it, or it is one of the
# examples, a path of IPFS, a name of libp2p's, or anchored at the root of the tree (.gitignore).
ANYWHERE = "proc dev sys etc usr var run srv bin tmp ipfs s ssd nonexistent nowhere perf".split()
ANYWHERE += "api repo".split()
ANYWHERE += "ip4 ip6 ip6zone dns dns4 dns6 dnsaddr tcp unix p2p multistream tls yamux".split()
MACHINE = re.compile(
    r"(?:^|(?<=[\s\"'(=`]))/(?!(?:%s)/)[a-z0-9_]+/" % "|".join(ANYWHERE), re.MULTILINE
)
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


class Report:
    def __init__(self):
        self.problems, self.used, self.rules, self.skips = [], set(), {}, []

    def rule(self, name):
        self.rules.setdefault(name, 0)

    def bad(self, path, line, rule, words):
        self.rule(rule)
        if (path, rule) in ALLOW:
            self.used.add((path, rule))
            return
        self.rules[rule] += 1
        self.problems.append(f"{path}:{line}: {words} [{rule}]")


def walk(root):
    skip = re.compile(r"^(build.*|run|\.git|__pycache__)$")
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(
            f
            for f in folders
            if not skip.match(f) and os.path.join(folder, f) != os.path.join(root, "perf/out")
        )
        for name in sorted(f for f in files if not skip.match(f)):
            yield os.path.relpath(os.path.join(folder, name), root)


TOKEN = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.DOTALL)


def bare(text):
    """The code without comments and literals, line numbers kept."""
    return TOKEN.sub(
        lambda m: ("\n" * m.group().count("\n")) if m.group()[0] == "/" else '""', text
    )


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def check_includes(path, text, report):
    folder = path.split("/")[0]
    first = None
    for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', text, re.MULTILINE):
        kind, name = match.groups()
        line = line_of(text, match.start())
        if kind == '"':
            first = first or name
            top = name.split("/")[0]
            if name == "build_info.h":
                if folder not in ("engine", "tools", "tests", "perf"):
                    report.bad(path, line, "folder-law", "build_info.h belongs to engine and tools")
            elif "/" not in name or top not in FOLDERS:
                report.bad(
                    path, line, "folder-law", f'"{name}" is not a path from the root of the tree'
                )
            elif top not in MAY_INCLUDE[folder]:
                report.bad(path, line, "folder-law", f"{folder}/ must not see {top}/ ({name})")
        elif folder in PRODUCT:
            prefix = next((p for p in LIBRARIES if name.startswith(p)), None)
            if prefix and not path.startswith(LIBRARIES[prefix]):
                report.bad(
                    path,
                    line,
                    "library-law",
                    f"<{name}> belongs to {', '.join(LIBRARIES[prefix])} alone",
                )
    own = path[:-2] + ".h"
    if path.endswith(".c") and os.path.exists(own) and first != own:
        report.bad(path, 1, "own-header-first", f'"{own}" is not the first include')


def check_lines(path, text, report):
    lines = text.split("\n")
    if len(lines) > LINES_MAX:
        report.bad(path, len(lines), "file-length", f"{len(lines)} lines, at most {LINES_MAX}")
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX:
            report.bad(path, number, "columns", f"{len(line)} columns, at most {COLUMNS_MAX}")


def check_functions(path, text, report):
    head, start, inside = "", 0, False
    for number, line in enumerate(bare(text).split("\n"), 1):
        if inside:
            if line.startswith("}"):
                if number - start + 1 > FUNCTION_MAX:
                    name = (re.findall(r"(\w+)\s*\(", head) or ["?"])[0]
                    report.bad(
                        path,
                        start,
                        "function-length",
                        f"{name} has {number - start + 1} lines, at most {FUNCTION_MAX}",
                    )
                inside, head = False, ""
            continue
        if not line.strip() or line.startswith("#") or line.rstrip().endswith(";"):
            head = ""
            continue
        if not head:
            start = number
        head += line + " "
        if line.rstrip().endswith("{"):
            inside = (
                "(" in head
                and "=" not in head.split("(")[0]
                and not re.match(r"\s*(struct|enum|union)\s+\w*\s*\{", head)
            )
            head = head if inside else ""


def check_words(path, text, report):
    code = bare(text)
    folder = path.split("/")[0]
    for match in re.finditer(r"//", code):
        report.bad(path, line_of(code, match.start()), "comments", "// comment; we write /* */")
    banned = list(BANNED_TESTS if folder in ("tests", "perf") else BANNED)
    if folder in DATA_PATH and not path.startswith(CONTROL_SIDE):
        banned += BANNED_DATA_PATH
    for match in re.finditer(r"(?<![\w.>])(" + "|".join(banned) + r")\s*\(", code):
        report.bad(
            path,
            line_of(code, match.start()),
            "banned-" + match.group(1),
            f"{match.group(1)}() is banned in {folder}/",
        )
    for match in re.finditer(r"\bvolatile\b", code):
        if not re.search(r"asm(__)?\s*(__)?$", code[: match.start()]):
            report.bad(
                path,
                line_of(code, match.start()),
                "volatile",
                "volatile is never the right word: atomics or a barrier",
            )
    for match in UNFINISHED.finditer(text):
        report.bad(path, line_of(text, match.start()), "unfinished", f"{match.group()} in the tree")


def check_header(path, text, report):
    lines = text.split("\n")
    if not lines[0].startswith("/* SPDX-License-Identifier: MIT */"):
        report.bad(path, 1, "spdx", "no SPDX line on top")
    if not path.endswith(".h"):
        return
    if lines[1:2] != ["#pragma once"]:
        report.bad(path, 2, "contract", "#pragma once is not the second line")
    noun = r"\A.*?\n#pragma once\s*\n/\* (\w[\w./ ]*?)(,[^—]*)? — "
    comment = re.search(noun, text, re.DOTALL)
    stem = os.path.basename(path)[:-2]
    if not comment:
        report.bad(
            path,
            3,
            "contract",
            f"no contract: a block comment that begins '/* {stem} — what it is'",
        )
    elif comment.group(1).replace(" ", "_") not in (stem, os.path.basename(os.path.dirname(path))):
        report.bad(
            path, 3, "contract", f"the contract speaks of '{comment.group(1)}', the file is {stem}"
        )


def check_built(sources, builds, report):
    named = {}
    for path, text in builds.items():
        here = os.path.dirname(path)
        for word in re.findall(r"'([^'\n]+)'", text):
            named.setdefault(here, set()).add(word)
    report.rule("unbuilt")
    for path in sources:
        if not path.endswith(".c"):
            continue
        folder, rest = os.path.dirname(path), os.path.basename(path)
        while True:
            words = named.get(folder, ())
            stem = os.path.basename(rest)[:-2]
            if rest in words or rest[:-2] in words or stem.partition("_")[2] in words:
                break
            if not folder:
                report.bad(path, 1, "unbuilt", "no meson.build names this file")
                break
            rest = os.path.join(os.path.basename(folder), rest)
            folder = os.path.dirname(folder)


def check_tested(sources, texts, report):
    tests = "\n".join(
        text
        for path, text in texts.items()
        if path.startswith("tests/") and path.endswith((".c", ".h", ".py", "meson.build"))
    )
    report.rule("untested")
    for path in sources:
        if (
            path.endswith(".c")
            and path.startswith(PRODUCT)
            and path not in tests
            and path[:-2] + ".h" not in tests
        ):
            report.bad(path, 1, "untested", f"no test mentions {path} or its header")


def anchors(text):
    found = set()
    for title in re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE):
        found.add(re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-"))
    return found


def check_docs(texts, report):
    for path, text in texts.items():
        if not path.endswith(".md"):
            continue
        report.rule("links")
        prose = re.sub(r"```.*?```", lambda m: "\n" * m.group().count("\n"), text, flags=re.DOTALL)
        for match in re.finditer(r"\[[^\]\n]*\]\(([^)\s]+)\)", prose):
            target, _, anchor = match.group(1).partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            file = os.path.normpath(os.path.join(os.path.dirname(path), target)) if target else path
            line = line_of(prose, match.start())
            if not os.path.exists(file):
                report.bad(path, line, "links", f"{target} does not exist")
            elif anchor and file in texts and anchor not in anchors(texts[file]):
                report.bad(path, line, "links", f"{file} has no heading #{anchor}")
    if "README.md" not in texts:
        report.bad("README.md", 1, "readme", "there is none")
    elif texts["README.md"].count("\n") > README_MAX:
        report.bad("README.md", 1, "readme", f"more than {README_MAX} lines")


def check_format(sources, report):
    if not shutil.which("clang-format"):
        report.skips.append("clang-format is not installed: the layout of the code was not checked")
        return
    report.rule("format")
    done = subprocess.run(
        ["clang-format", "--dry-run", "--ferror-limit=1", *sources],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    seen = set()
    for path, line in re.findall(
        r"^([^\s:]+):(\d+):\d+: .*clang-format", done.stderr, re.MULTILINE
    ):
        if path not in seen:
            seen.add(path)
            report.bad(
                path,
                line,
                "format",
                "clang-format would lay this out differently: clang-format -i FILE",
            )


def main(arguments):
    os.chdir(
        arguments[0]
        if arguments
        else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    )
    report = Report()
    texts = {}
    for path in walk("."):
        try:
            with open(path, encoding="utf-8") as file:
                texts[path] = file.read()
        except (UnicodeDecodeError, OSError):
            continue  # corpora are bytes, sockets and dangling links are nobody's source
    sources = [p for p in texts if p.endswith((".c", ".h")) and p.split("/")[0] in FOLDERS]
    for rule in (
        "folder-law",
        "library-law",
        "own-header-first",
        "file-length",
        "function-length",
        "columns",
        "comments",
        "banned",
        "volatile",
        "unfinished",
        "spdx",
        "contract",
        "machine",
        "readme",
    ):
        report.rule(rule)
    for path in sources:
        check_includes(path, texts[path], report)
        check_functions(path, texts[path], report)
        check_words(path, texts[path], report)
        if path.split("/")[0] in PRODUCT or path.endswith(".c"):
            check_header(path, texts[path], report)
    for path, text in texts.items():
        for match in MACHINE.finditer(text):
            report.bad(
                path,
                line_of(text, match.start()),
                "machine",
                f"'{match.group()}' names a machine, not the project",
            )
        if path in sources or path.endswith((".py", ".cpp")) or text.startswith("#!"):
            check_lines(path, text, report)
    check_built(sources, {p: t for p, t in texts.items() if p.endswith("meson.build")}, report)
    check_tested(sources, texts, report)
    check_docs(texts, report)
    check_format(sources, report)
    report.rule("allow")
    for path, rule in ALLOW:
        if (path, rule) not in report.used:
            report.bad(
                path,
                1,
                "allow",
                f"the exception for '{rule}' is no longer needed: take it out of ALLOW",
            )
    for problem in sorted(report.problems):
        print(problem)
    for words in report.skips:
        print("SKIPPED:", words)
    failed = sum(1 for count in report.rules.values() if count)
    print(
        f"cases: {len(report.rules) - failed} passed, {failed} failed, {len(report.skips)} skipped"
    )
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
