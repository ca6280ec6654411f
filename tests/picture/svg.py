"""Panels in the grid of a Grafana dashboard, as text: an SVG.

All lengths are half pixels, so that whole numbers are fine enough and short."""
import math
from html import escape

GRID, UNIT, GAP = 100, 50, 12  # a column, a row of the grid, between panels
HEAD, LINE = 46, 28  # title of a panel, line of a legend
COLOURS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#96d98d", "#ffb357", "#ff7383"]
NAMES = {"green": "#73bf69", "red": "#f2495c"}
BACK, PANEL, EDGE, RULE = "#111217", "#181b1f", "#25282d", "#2c3036"
STYLE = f"""text{{font:22px Inter,"Helvetica Neue",Arial,sans-serif;fill:#9a9ba3}}.t{{fill:#d8d9df;font-size:24px;font-weight:500}}
.h{{fill:#d8d9df;font-size:28px;font-weight:500}}.e{{text-anchor:end}}.m{{text-anchor:middle}}.v{{font-size:60px;font-weight:500;text-anchor:middle}}
.l{{font-size:20px}}path{{fill:none;stroke-width:3;stroke-linejoin:round}}.g{{stroke:{RULE};stroke-width:2}}"""

SCALES = {"short": [(1e9, " G"), (1e6, " M"), (1e3, " K"), (1, "")], "reqps": [(1e3, " K req/s"), (1, " req/s")],
          "s": [(3600, " h"), (60, " min"), (1, " s"), (1e-3, " ms"), (1e-6, " µs")], "percentunit": [(0.01, " %")]}


def number(v):
    v = round(v, 6)
    return f"{v:.0f}" if abs(v) >= 100 or v == int(v) else f"{v:.1f}" if abs(v) >= 10 else f"{v:.3g}"


def told(value, unit):
    """As Grafana writes it."""
    if unit == "currencyUSD":
        return f"${value:,.0f}" if value >= 100 else f"${value:.2f}" if value >= 0.01 or not value else f"${value:.4f}"
    scale = SCALES.get(unit, SCALES["short"])
    factor, name = next((s for s in scale if abs(value) >= s[0]), scale[-1] if value else (1, scale[-1][1]))
    if unit == "s" and not value:
        name = " s"
    return number(value / factor) + name


def ceiling(top, unit):
    """The step of the marks and the end of the axis above `top`."""
    if top <= 0:
        return 1, 1
    base = 10 ** math.floor(math.log10(top / 3))
    if unit == "s" and top > 180:
        base, steps = 60, [1, 2, 5, 10, 15, 30, 60, 120, 360, 720]
    else:
        steps = [1, 2, 2.5, 5, 10]
    step = next((s * base for s in steps if s * base * 3 >= top * 0.999), steps[-1] * base)
    return step, step * math.ceil(top / step - 1e-9)


def mix(colour, share):
    """Of a colour over the panel, without transparency."""
    part = lambda c, i: int(c[i:i + 2], 16)
    return "#" + "".join(f"{round(part(colour, i) * share + part(PANEL, i) * (1 - share)):02x}" for i in (1, 3, 5))


def path(points):
    """[(x, y)], whole numbers; relative, without needless blanks."""
    (x, y), *rest = points
    out = f"M{x} {y}l"
    for a, b in rest:
        dx, dy = a - x, b - y
        out += f"{'' if out[-1] == 'l' or dx < 0 else ' '}{dx}{'' if dy < 0 else ' '}{dy}"
        x, y = a, b
    return out


def runs(values):
    """Stretches without holes: [(index, value)]."""
    run = []
    for i, v in enumerate(values):
        if v is None or v != v:
            if len(run) > 1:
                yield run
            run = []
        else:
            run.append((i, v))
    if len(run) > 1:
        yield run


class Picture:
    def __init__(self, title, note):
        self.out = []
        self.bottom = 0
        self.title, self.note = title, note

    def add(self, *texts):
        self.out += texts

    def text(self, x, y, text, cls="", more=""):
        self.add(f'<text x="{x}" y="{y}"' + (f' class="{cls}"' if cls else "") + f"{more}>{escape(text)}</text>")

    def box(self, panel):
        at = panel["gridPos"]
        x, y = at["x"] * GRID + GAP // 2, at["y"] * UNIT + 76
        w, h = at["w"] * GRID - GAP, at["h"] * UNIT - GAP
        self.bottom = max(self.bottom, y + h)
        return x, y, w, h

    def row(self, panel):
        x, y, _, h = self.box(panel)
        self.text(x + 6, y + h - 6, "⌄ " + panel["title"], "h")

    def frame(self, panel):
        x, y, w, h = self.box(panel)
        self.add(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="4" fill="{PANEL}" stroke="{EDGE}" stroke-width="2"/>')
        self.text(x + 16, y + 32, panel["title"], "t")
        return x, y, w, h

    def stat(self, panel, value):
        x, y, w, h = self.frame(panel)
        defaults = panel["fieldConfig"]["defaults"]
        steps = defaults.get("thresholds", {}).get("steps", [])
        reached = [s["color"] for s in steps if s["value"] is None or (value is not None and value >= s["value"])]
        colour = NAMES.get(reached[-1], reached[-1]) if reached else NAMES["green"]
        self.text(x + w // 2, y + h // 2 + 40, "No data" if value is None else told(value, defaults["unit"]), "v",
                  f' style="fill:{colour}"')

    def axes(self, plot, step, top, unit, seconds):
        x, y, w, h = plot
        marks = ""
        for i in range(round(top / step) + 1):
            at = round(y + h - i * step / top * h)
            marks += f"M{x} {at}h{w}"
            self.text(x - 8, at + 7, told(i * step, unit), "l e")
        for s in range(0, seconds + 1, 15):
            at = round(x + s / seconds * w)
            self.text(min(at, x + w - 26), y + h + 26, f"{s // 60}:{s % 60:02}", "l m")
        self.add(f'<path class="g" d="{marks}"/>')

    def legend(self, x, y, w, names, room):
        """As many lines as there is room for."""
        at, line = x, 0
        for i, (name, colour) in enumerate(names):
            width = 44 + 12 * len(name)
            more = 0 if i == len(names) - 1 else 90  # for "+ 3 more"
            if at > x and at + width + (more if line == room - 1 else 0) > x + w:
                if line == room - 1:
                    self.text(at, y + line * LINE, f"+ {len(names) - i} more", "l")
                    return
                at, line = x, line + 1
            self.add(f'<path stroke="{colour}" style="stroke-width:6" d="M{at} {y + line * LINE - 7}h22"/>')
            self.text(at + 30, y + line * LINE, name, "l")
            at += width

    def timeseries(self, panel, lines, seconds):
        """lines: [(name, [value or None])], one value a second."""
        x, y, w, h = self.frame(panel)
        defaults = panel["fieldConfig"]["defaults"]
        stacked = defaults["custom"]["stacking"]["mode"] == "normal"
        room = 1 if len(lines) < 3 else 2
        plot = x + 118, y + HEAD + 8, w - 142, h - HEAD - 50 - room * LINE
        if stacked:
            lines = stack(lines)
        top = max([v for _, values in lines for v in values if v is not None and v == v], default=0)
        step, end = ceiling(top, defaults["unit"])
        self.axes(plot, step, end, defaults["unit"], seconds)
        if not lines:
            self.text(x + w // 2, y + HEAD + 120, "No data", "m")
        colours = [COLOURS[i % len(COLOURS)] for i in range(len(lines))]
        order = list(zip(lines, colours))
        for (_, values), colour in reversed(order) if stacked else order:
            self.curve(plot, values, end, seconds, colour, stacked)
        self.legend(x + 20, y + h - 14 - (room - 1) * LINE, w - 40, [(n, c) for (n, _), c in order], room)

    def curve(self, plot, values, end, seconds, colour, filled):
        x, y, w, h = plot
        for run in runs(values):
            points = [(round(x + i / seconds * w), round(y + h - v / end * h)) for i, v in run]
            if filled and any(v for _, v in run):
                area = [(points[0][0], y + h), *points, (points[-1][0], y + h)]
                self.add(f'<path style="fill:{mix(colour, 0.25)}" d="{path(area)}z"/>')
            self.add(f'<path stroke="{colour}" d="{path(points)}"/>')

    def write(self):
        width, height = 24 * GRID, self.bottom + 16
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width // 2}" height="{height // 2}">',
            f"<title>{escape(self.title)}</title><style>{STYLE}</style>",
            f'<rect width="{width}" height="{height}" fill="{BACK}"/>',
            f'<text x="20" y="50" class="h" style="font-size:34px">{escape(self.title)}</text>',
            f'<text x="{width - 20}" y="48" class="e">{escape(self.note)}</text>', *self.out, "</svg>", ""])


def stack(lines):
    """Each on top of those before it."""
    below = None
    found = []
    for name, values in lines:
        values = [v if v is not None and v == v else 0 for v in values]
        below = values if below is None else [a + b for a, b in zip(below, values)]
        found.append((name, below))
    return found
