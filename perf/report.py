# SPDX-License-Identifier: MIT
"""report — rows as a table for people, as an SVG, and as the dated part of docs/performance.md."""
import datetime
import os
import re
from xml.sax.saxutils import escape

BEGIN, END = "<!-- perf:begin", "<!-- perf:end -->"


def number(value):
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.2f} M"
    if size >= 1e4:
        return f"{value:,.0f}"
    return f"{value:.3g}" if size < 100 else f"{value:.0f}"


def ratio(row, name):
    value = row.get(f"div_{name}")
    if value is None:
        return "-"
    low, high = row.get(f"div_{name}_min"), row.get(f"div_{name}_max")
    return f"{value:.2f} ({low:.2f}..{high:.2f})" if low is not None and row.get("rounds", 1) > 1 \
        else f"{value:.2f}"


def target(row):
    parts = []
    if row.get("target_floor") is not None:
        parts.append(f"{row['sense_floor']} {row['target_floor']:g} floor")
    if row.get("target_peer") is not None:
        parts.append(f"{row['sense_peer']} {row['target_peer']:g} peer")
    if row.get("limit") is not None:
        parts.append(f"<= {number(row['limit'])}")
    return ", ".join(parts) or "-"


def verdict(row):
    if row.get("void"):
        return "void"
    if row.get("missing"):
        return "not measured"
    if row["met"] is None:
        return "no target" if target(row) == "-" else "open"
    return "met" if row["met"] else "MISSED"


HEAD = ("row", "job", "product", "floor", "peer", "/ floor", "/ peer", "target", "verdict")


def cells(row):
    peer = number(row["peer"])
    if row.get("peer_name"):
        peer += f" ({row['peer_name']})"
    return (row["row"], f"{row['job']} [{row['unit']}]" if row.get("unit") else row["job"],
            number(row["product"]), number(row["floor"]), peer, ratio(row, "floor"),
            ratio(row, "peer"), target(row), verdict(row))


def notes(row):
    """What else a reader of the row must know, in words."""
    out = []
    for name, form in (("void", "void: {}"), ("missing", "{}"), ("note", "{}")):
        if row.get(name):
            out.append(form.format(row[name]))
    itself = row.get("floor_self")
    if itself:
        out.append(f"floor against itself {itself['median']:.3f} ({itself['min']:.2f}.."
                   f"{itself['max']:.2f})")
    if row.get("dropped"):
        out.append(f"{row['dropped']} rounds dropped")
    if row.get("busy"):
        out.append(f"{row['busy']:,} BUSY answers, not counted as requests")
    for name, form in (("shares", "shares {}"), ("server_busy", "server busy {:.1%}"),
                       ("ns", "{:.0f} ns a want"), ("p50_ns", "p50 {:.0f} ns a batch"),
                       ("p99_ns", "p99 {:.0f} ns a batch"),
                       ("worst_push_us", "longest push {:.0f} us"),
                       ("peer_worst_push_us", "the peer's {:.0f} us"),
                       ("heap_bytes_per_op", "heap bytes an op {:.3g}"),
                       ("find_ns", "find {:.0f} ns a key"), ("have_ns", "have {:.0f} ns a key"),
                       ("touched_bytes", "touched as they came {:.0f} bytes"),
                       ("with_boot_bytes", "beyond a daemon of 64 connections {:.0f} bytes"),
                       ("cpu", "{:.2f} ns of CPU a byte"),
                       ("capacity", "capacity {:,.0f}/s"), ("offered", "Low offered {:,.0f}/s"),
                       ("low_done", "of which {:,.0f}/s were answered")):
        if row.get(name) is not None:
            out.append(form.format(row[name]))
    return "; ".join(out)


def table(rows):
    lines = [HEAD] + [cells(r) for r in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    text = []
    for i, line in enumerate(lines):
        text.append("  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip())
        if i == 0:
            text.append("  ".join("-" * w for w in widths))
    extra = [f"{r['row']} {r['job']}: {notes(r)}" for r in rows if notes(r)]
    return "\n".join(text + [""] + extra)


def markdown(rows):
    out = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    out += ["| " + " | ".join(c.replace("|", "/") for c in cells(r)) + " |" for r in rows]
    return "\n".join(out)


def svg(rows, title):
    """One bar a ratio, on a scale where 1 is its target: left of the line is met."""
    bars = []
    for row in rows:
        for side, value, goal, sense in (
                ("floor", row.get("div_floor"), row.get("target_floor"), row.get("sense_floor")),
                (row.get("peer_name"), row.get("div_peer"), row.get("target_peer"),
                 row.get("sense_peer")),
                ("limit", row.get("product"), row.get("limit"), "<=")):
            if value is None or not goal:
                continue
            used = value / goal if sense == "<=" else goal / value if value else 2.0
            bars.append((f"{row['row']} {row['job']} / {side}", used,
                         f"{number(value)} (target {sense} {number(goal)})"))
    height, left, scale = 22, 560, 260
    width = left + 2 * scale + 160
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
           f'height="{height * (len(bars) + 3)}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="8" y="18" font-size="14">{escape(title)}</text>']
    for i, (name, used, text) in enumerate(bars):
        y = height * (i + 2)
        colour = "#3a7d44" if used <= 1 else "#b3402a"
        out.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(name[-90:])}'
                   '</text>')
        out.append(f'<rect x="{left}" y="{y + 3}" width="{min(used, 2) * scale:.1f}" '
                   f'height="{height - 8}" fill="{colour}"/>')
        out.append(f'<text x="{left + min(used, 2) * scale + 6:.1f}" y="{y + 14}">{escape(text)}'
                   '</text>')
    out.append(f'<line x1="{left + scale}" x2="{left + scale}" y1="{height * 1.6:.0f}" '
               f'y2="{height * (len(bars) + 2)}" stroke="black" stroke-dasharray="4 3"/>')
    out.append(f'<text x="{left + scale}" y="{height * 1.5:.0f}" text-anchor="middle">target'
               '</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


def summary(path, rows, machine, command, date=None):
    """Puts the rows into the marked part of a document: rows measured now replace their older
    selves, others stay with the date they carry."""
    date = date or datetime.date.today().isoformat()
    with open(path) as f:
        text = f.read()
    begin, end = text.find(BEGIN), text.find(END)
    if begin < 0 or end < 0:
        raise SystemExit(f"{path} has no part marked '{BEGIN} ... -->' and '{END}'")
    body = text.index("\n", begin) + 1
    kept = {}
    for block in re.split(r"(?m)^(?=### [A-Z]+)", text[body:end]):
        name = re.match(r"### ([A-Z]+\d*)", block)
        if name:
            kept[name.group(1)] = block.rstrip() + "\n"
    for name in dict.fromkeys(r["row"] for r in rows):
        mine = [r for r in rows if r["row"] == name]
        lines = [f"### {name}, {date}", "", markdown(mine), ""]
        lines += [f"- {r['job']}: {notes(r)}." for r in mine if notes(r)]
        lines += ["", f"`{command}` at {machine['commit']}; {machine['cpus']} x {machine['cpu']}, "
                  f"{machine['memory_gib']} GiB, Linux {machine['kernel']}, "
                  f"{machine['congestion_control']}; {machine['redis']}; {machine['memcached']}."]
        kept[name] = "\n".join(lines) + "\n"
    order = sorted(kept, key=lambda n: (int(n[1:]) if n[1:].isdigit() else 1000, n))
    text = text[:body] + "\n" + "\n".join(kept[n] for n in order) + "\n" + text[end:]
    with open(path + ".new", "w") as f:
        f.write(text)
    os.replace(path + ".new", path)
