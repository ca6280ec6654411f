"""The part of PromQL that the expressions of the dashboard use: which series an expression needs, and
its value.

    needs('sum by (a) (rate(x_total{b="c"}[5m]))')  ->  [("x_total", {"a": None, "b": "c"})]
    Expression("sum(x) / 2").value(samples, at)     ->  {labels: number}

Names and syntax outside of this part are errors."""
import re

AGGREGATIONS = {"sum": sum, "min": min, "max": max, "count": len, "avg": lambda v: sum(v) / len(v)}
OPERATORS = [{"<", ">"}, {"+", "-"}, {"*", "/"}]  # what binds least comes first
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
TOKEN = re.compile(r"""\s*(?:(?P<range>\[(?:\$__rate_interval|\$__range|\d+[smhd])\])
    |(?P<name>[A-Za-z_:][A-Za-z0-9_:]*)|(?P<text>"(?:[^"\\]|\\.)*")
    |(?P<number>\d+(?:\.\d+)?)|(?P<op>=~|!~|!=|[-+*/(){},=<>]))""", re.X)


# ------------------------------------------------------------------- functions
# A vector is {labels: number}; labels are a frozenset of pairs.


class Range(dict):
    """{labels: [(time, number)]}: the samples from low to high."""

    def __init__(self, found, low, high):
        super().__init__(found)
        self.low, self.high = low, high


def each(f):
    return lambda vector, *more: {k: f(v, *more) for k, v in vector.items()}


def growth(points):
    """How much a counter grew. It starts at 0 again after a restart."""
    return sum(b - a if b >= a else b for (_, a), (_, b) in zip(points, points[1:]))


def extrapolated(points, low, high):
    """The growth as Prometheus extrapolates it: to the ends of the window if samples are near them,
    otherwise by half of the mean interval between samples; never below 0."""
    grown, (first, value), last = growth(points), points[0], points[-1][0]
    before, behind, span = first - low, high - last, last - first
    if grown > 0:
        before = min(before, span * value / grown)
    gap = span / (len(points) - 1)
    before, behind = (d if d < 1.1 * gap else gap / 2 for d in (before, behind))
    return grown * (span + before + behind) / span


def increase(ranges):
    return {k: extrapolated(p, ranges.low, ranges.high) for k, p in ranges.items() if len(p) > 1}


def rate(ranges):
    return {k: v / (ranges.high - ranges.low) for k, v in increase(ranges).items()}


def irate(ranges):
    return {k: growth(p[-2:]) / (p[-1][0] - p[-2][0]) for k, p in ranges.items() if len(p) > 1}


def quantile(q, buckets):
    """As Prometheus computes it: linear within a bucket."""
    total = buckets[-1][1] if buckets else 0
    if not total or buckets[-1][0] != float("inf"):
        return None
    below, low = 0.0, 0.0
    for le, n in buckets:
        if n >= q * total:
            return low if le == float("inf") else low + (le - low) * (q * total - below) / ((n - below) or 1)
        below, low = n, le


def histogram_quantile(q, vector):
    groups = {}
    for labels, n in vector.items():
        rest = frozenset(p for p in labels if p[0] != "le")
        groups.setdefault(rest, []).append((float(dict(labels)["le"]), n))
    found = {k: quantile(q, sorted(v)) for k, v in groups.items()}
    return {k: v for k, v in found.items() if v is not None}


FUNCTIONS = {
    "rate": rate, "increase": increase, "irate": irate,
    "histogram_quantile": histogram_quantile, "time": None, "clamp_min": each(max), "clamp_max": each(min),
    "max_over_time": each(lambda points: max(v for _, v in points)),
}


def apply(op, a, b):
    if op == "/":
        return a / b if b else float("nan")
    return {"+": a + b, "-": a - b, "*": a * b, "<": a if a < b else None, ">": a if a > b else None}[op]


def combine(op, a, b):
    """The operator on numbers and vectors; of two vectors, on the members with equal labels."""
    if not isinstance(a, dict) and not isinstance(b, dict):
        return apply(op, a, b)
    keys = a.keys() & b.keys() if isinstance(a, dict) and isinstance(b, dict) else a if isinstance(a, dict) else b
    of = lambda side, k: side[k] if isinstance(side, dict) else side
    found = {k: apply(op, of(a, k), of(b, k)) for k in keys}
    return {k: v for k, v in found.items() if v is not None}


def matches(have, op, value):
    if op in ("=", "!="):
        return (have == value) == (op == "=")
    return bool(re.fullmatch(value.replace(r"\\", "\\"), have)) == (op == "=~")


class Samples:
    """Pages of /metrics that were read one after the other. `ranges` has the seconds of
    $__rate_interval and $__range."""

    def __init__(self, ranges=None):
        self.ranges = ranges or {}
        self.times = []
        self.names = {}  # metric -> {labels: [(time, number)]}

    def add(self, time, found):
        self.times.append(time)
        for name, labels, value in found:
            self.names.setdefault(name, {}).setdefault(frozenset(labels.items()), []).append((time, value))

    def select(self, name, matchers, low, high):
        found = {}
        for labels, points in self.names.get(name, {}).items():
            have = dict(labels)
            inside = [p for p in points if low <= p[0] <= high]
            if inside and all(matches(have.get(k, ""), op, v) for k, op, v in matchers):
                found[labels] = inside
        return found

    def seconds(self, text):
        text = text[1:-1]
        return self.ranges[text] if text in self.ranges else int(text[:-1]) * UNITS[text[-1]]


# ------------------------------------------------------------------ expressions


class Expression:
    def __init__(self, text):
        self.text = text
        self.tokens = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            m = TOKEN.match(text, at)
            if not m:
                raise ValueError(f"{text!r} at {at}: {text[at:at + 20]!r}")
            self.tokens.append((m.lastgroup, m.group(m.lastgroup)))
            at = m.end()
        self.at = 0
        self.found = []  # (metric, {label: value or None})
        self.by = set()  # labels of the result
        self.value = self.operation(0)  # (samples, time) -> vector or number
        if self.at < len(self.tokens):
            raise ValueError(f"{text!r}: {self.peek()} is not expected")

    def peek(self, ahead=0):
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else ("end", "")

    def take(self, expected=None):
        token = self.peek()
        if expected and token[1] != expected:
            raise ValueError(f"{self.text!r}: found {token[1]!r}, expected {expected!r}")
        self.at += 1
        return token

    # Each of these takes its tokens and gives a function of (samples, time).

    def operation(self, level):
        if level == len(OPERATORS):
            return self.one()
        left = self.operation(level + 1)
        while self.peek()[1] in OPERATORS[level]:
            left = self.binary(self.take()[1], left, self.operation(level + 1))
        return left

    @staticmethod
    def binary(op, left, right):
        return lambda s, at: combine(op, left(s, at), right(s, at))

    def one(self):
        kind, value = self.peek()
        if kind == "number":
            self.take()
            return lambda s, at: float(value)
        if value == "(":
            self.take()
            inner = self.operation(0)
            self.take(")")
            return inner
        if kind != "name":
            raise ValueError(f"{self.text!r}: {value!r} is not expected")
        if value in AGGREGATIONS:
            return self.aggregation()
        if self.peek(1)[1] == "(":
            return self.function()
        return self.selector()

    def function(self):
        name = self.take()[1]
        if name not in FUNCTIONS:
            raise ValueError(f"{self.text!r}: no function {name}")
        arguments = self.arguments()
        if name == "time":
            return lambda s, at: at
        return lambda s, at: FUNCTIONS[name](*(a(s, at) for a in arguments))

    def arguments(self):
        self.take("(")
        found = []
        while self.peek()[1] != ")":
            found.append(self.operation(0))
            if self.peek()[1] == ",":
                self.take()
        self.take(")")
        return found

    def aggregation(self):
        how = AGGREGATIONS[self.take()[1]]
        labels = []
        if self.peek()[1] == "by":
            self.take()
            self.take("(")
            while self.peek()[1] != ")":
                labels.append(self.take()[1])
                if self.peek()[1] == ",":
                    self.take()
            self.take(")")
        before = len(self.found)
        (of,) = self.arguments()
        for _, has in self.found[before:]:
            for label in labels:
                has.setdefault(label, None)
        self.by.update(labels)

        def value(s, at):
            groups = {}
            for have, v in of(s, at).items():
                groups.setdefault(frozenset(p for p in have if p[0] in labels), []).append(v)
            return {k: how(v) for k, v in groups.items()}

        return value

    def selector(self):
        name = self.take()[1]
        labels, matchers = {}, []
        if self.peek()[1] == "{":
            self.take()
            while self.peek()[1] != "}":
                label = self.take()[1]
                op = self.take()[1]
                kind, value = self.take()
                if op not in ("=", "=~", "!=", "!~") or kind != "text":
                    raise ValueError(f"{self.text!r}: no matcher of {label}")
                labels[label] = value[1:-1] if op == "=" else None
                matchers.append((label, op, value[1:-1]))
                if self.peek()[1] == ",":
                    self.take()
            self.take("}")
        self.found.append((name, labels))
        if self.peek()[0] == "range":
            text = self.take()[1]

            def window(s, at):
                low = at - s.seconds(text)
                return Range(s.select(name, matchers, low, at), low, at)

            return window
        # a series without a sample for five seconds has ended
        return lambda s, at: {k: p[-1][1] for k, p in s.select(name, matchers, at - 5, at).items()}


def needs(text):
    return Expression(text).found


def series(page):
    """The series of a page in the text format: (name, {label: value}, number)."""
    found = []
    for line in page.splitlines():
        if not line or line.startswith("#"):
            continue
        m = re.fullmatch(r'(\w+)(?:\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)', line)
        assert m, f"no line of the text format: {line!r}"
        labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', m.group(2) or ""))
        found.append((m.group(1), labels, float(m.group(3))))
    return found
