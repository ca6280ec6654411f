"""The tables of driver.py: what was logged and charged, and how often a rule is right about it."""
import collections
import re
from pathlib import Path

# ---- rules: what a record says of a request that was allowed

SENT, NOT_SENT, REFUSED = "SENT", "NOT", "REFUSED"
RECORD_C = (Path(__file__).resolve().parents[2] / "spoa/usage/record.c").read_text()
UNSENT = re.findall(r'"(\w\w)"', re.search(r"rec_unsent\[\]\[3\] = \{(.*?)\};", RECORD_C, re.S).group(1))


def refused(line):
    up = line["upstream"].strip("-")
    return bool(up) and int(up) >= 400 and up not in ("408", "504")


def judge(line, unsent):
    return REFUSED if refused(line) else NOT_SENT if unsent else SENT


def by_both(line):
    """record.c: rec_was_refused(), rec_was_unsent()."""
    return judge(line, line["connect_ms"] < 0 and line["termination"] in UNSENT)


def by_letters(line):
    """Its termination states alone."""
    return judge(line, line["termination"] in UNSENT)


def by_connect(line):
    """Its connection time alone: a process that is stopped may log -1 for a request that it has sent."""
    return judge(line, line["connect_ms"] < 0)


RULES = (by_both, by_letters, by_connect)
RESULTS = ("right", "CHEAPER", "dearer", "part, charged", "part, free", "no decision or record")


def verdict(rule, row):
    """CHEAPER or dearer than the truth; part: of an upload that was not complete."""
    if row["line"] is None or row["line"]["verdict"] != "allow":
        return "no decision or record"
    said = rule(row["line"])
    if row["truth"] == "PART":
        return "part, charged" if said == SENT else "part, free"
    if row["truth"] == SENT:
        return "right" if said == SENT else "CHEAPER"
    return "dearer" if said == SENT else "right"


def summary(rows):
    out = ["| rule | version | " + " | ".join(RESULTS) + " |", "|---" * (len(RESULTS) + 2) + "|"]
    for rule in RULES:
        for version in sorted({r["version"] for r in rows}):
            n = collections.Counter(verdict(rule, r) for r in rows if r["version"] == version)
            out.append(f"| {rule.__name__} | {version} | " + " | ".join(str(n[k]) for k in RESULTS) + " |")
    return "\n".join(out)


def combinations(rows):
    """Which (ts, status, Tc, Tr, up) came with which truth."""
    found = collections.defaultdict(lambda: collections.defaultdict(collections.Counter))
    for row in rows:
        line = row["line"]
        if not line or line["verdict"] != "allow":
            continue
        key = (line["termination"], line["status"], sign(line["connect_ms"]), sign(line["ttfb_ms"]), line["upstream"])
        found[key][row["truth"]][row["version"]] += 1
    names = " | ".join(rule.__name__ for rule in RULES)
    out = [f"| ts | status | Tc | Tr | up | truth | rows per version | {names} |", "|---" * (7 + len(RULES)) + "|"]
    for key in sorted(found, key=str):
        for truth, versions in sorted(found[key].items()):
            line = {"termination": key[0], "status": key[1], "connect_ms": -1 if key[2] == "-1" else 0,
                    "ttfb_ms": -1 if key[3] == "-1" else 0, "upstream": key[4]}
            n = " ".join(f"{v}:{c}" for v, c in sorted(versions.items()))
            out.append("| " + " | ".join(map(str, (*key, truth, n, *(rule(line) for rule in RULES)))) + " |")
    return "\n".join(out)


# ---- table

COLUMNS = ("", "version", "client", "end", "phase", "backend", "upstream saw", "status", "ts", "Tc", "Tr", "B", "U",
           "rc", "up", "logged", "charged", "by_letters", "by_connect")


def charged(row):
    """None: no record, the estimate stays until the reservation is over."""
    if row["charge"] == "open":
        return None
    return row["charge"] not in ("none", "0/0")


def mark(row):
    c = charged(row)
    if row["truth"] == SENT and c is False:
        return "!!"
    if row["truth"] == NOT_SENT and c:
        return "!!"
    return ""


def sign(v):
    """Times differ from run to run: reached or not."""
    return "-" if v is None else "-1" if int(v) < 0 else ">=0"


def some(v):
    return v if v in ("-", 0) else ">0"


def shown(row):
    """The cells behind `client`; numbers that differ from run to run as N."""
    line = row["line"] or {}
    g = line.get
    saw = re.sub(r"head\+\d+", "head+part", row["saw"]) + (f" (answered {row['answered']})" if row["answered"] else "")
    rules = [rule(line) if line and line["verdict"] == "allow" else "-" for rule in RULES[1:]]
    return (row["end"], row["phase"], (g("be") or row["route"]).split(".")[0], saw, g("status", "-"),
            g("termination", "-"), sign(g("connect_ms")), sign(g("ttfb_ms")), some(g("bytes", "-")), some(g("u", "-")),
            g("retries", "-"), g("upstream", "-"),
            row["when"], re.sub(r"\d{2,}", "N", row["charge"]), *rules)


def table(rows):
    """Rows that are equal but for version and client stand in one line."""
    groups = collections.defaultdict(lambda: collections.defaultdict(collections.Counter))
    for row in rows:
        groups[mark(row), shown(row)][row["version"]][row["client"]] += 1
    out = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for (m, cells), versions in sorted(groups.items(), key=lambda i: (i[0][1][1], i[0][1][0], *map(str, i[0][1]))):
        by_clients = collections.defaultdict(list)
        for version, n in sorted(versions.items()):
            by_clients[" ".join(sorted(k if n[k] < 4 else f"{k}x{n[k]}" for k in n))].append(version)
        for names, vs in by_clients.items():
            out.append("| " + " | ".join(map(str, (m, " ".join(vs), names, *cells))) + " |")
    return "\n".join(out)
