"""As much of PromQL as it takes to say which series an expression needs.

    needs('sum by (a) (rate(x_total{b="c"}[5m]))')  ->  [("x_total", {"a": None, "b": "c"})]

A name that is neither a function nor an aggregation nor a metric's place is an
error, as is everything that does not parse."""
import re

AGGREGATIONS = {"sum", "min", "max", "avg", "count", "topk", "bottomk", "quantile"}
FUNCTIONS = {"rate", "increase", "irate", "histogram_quantile", "time", "clamp_min", "clamp_max", "max_over_time"}
TOKEN = re.compile(r"""\s*(?:(?P<range>\[(?:\$__rate_interval|\$__range|\d+[smhd])\])
    |(?P<name>[A-Za-z_:][A-Za-z0-9_:]*)|(?P<text>"(?:[^"\\]|\\.)*")
    |(?P<number>\d+(?:\.\d+)?)|(?P<op>=~|!~|!=|[-+*/(){},=<>]))""", re.X)


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
        self.sum()
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

    def sum(self):
        self.one()
        while self.peek()[1] in ("+", "-", "*", "/", "<", ">"):
            self.take()
            self.one()

    def one(self):
        kind, value = self.peek()
        if kind == "number":
            self.take()
        elif value == "(":
            self.take()
            self.sum()
            self.take(")")
        elif kind != "name":
            raise ValueError(f"{self.text!r}: {value!r} is not expected")
        elif value in AGGREGATIONS:
            self.aggregation()
        elif self.peek(1)[1] == "(":
            if value not in FUNCTIONS:
                raise ValueError(f"{self.text!r}: no function {value}")
            self.take()
            self.arguments()
        else:
            self.selector()
        if self.peek()[0] == "range":
            self.take()

    def arguments(self):
        self.take("(")
        while self.peek()[1] != ")":
            self.sum()
            if self.peek()[1] == ",":
                self.take()
        self.take(")")

    def aggregation(self):
        self.take()
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
        self.arguments()
        for _, has in self.found[before:]:
            for label in labels:
                has.setdefault(label, None)
        self.by.update(labels)

    def selector(self):
        name = self.take()[1]
        labels = {}
        if self.peek()[1] == "{":
            self.take()
            while self.peek()[1] != "}":
                label = self.take()[1]
                op = self.take()[1]
                kind, value = self.take()
                if op not in ("=", "=~", "!=", "!~") or kind != "text":
                    raise ValueError(f"{self.text!r}: no matcher of {label}")
                labels[label] = value[1:-1] if op == "=" else None
                if self.peek()[1] == ",":
                    self.take()
            self.take("}")
        self.found.append((name, labels))


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
