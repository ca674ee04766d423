"""Plots as SVG and reports as HTML: by hand, so that a report is one file that needs nothing."""

import html
import math

COLOURS = ["#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a"]
WIDTH, HEIGHT = 560, 230
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 30, 30

STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; max-width: 1180px; margin: 2em auto; padding: 0 1em; color: #1f2328 }
table { border-collapse: collapse; margin: 1em 0 } th, td { border: 1px solid #d0d7de; padding: 4px 10px; text-align: left }
td.figure { text-align: right; font-variant-numeric: tabular-nums } .failed { color: #d1242f; font-weight: 600 }
.passed { color: #1a7f37 } .plots { display: flex; flex-wrap: wrap; gap: 12px } svg { border: 1px solid #d0d7de }
"""


def figure(value):
    """A number as a person reads it: three digits that matter, thousands apart."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return value
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(places, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def ticks(most, count=5):
    """Round numbers from 0 to `most`."""
    if most <= 0:
        return [0.0, 1.0]
    step = 10 ** math.floor(math.log10(most / count))
    step = next(step * factor for factor in (1, 2, 5, 10) if step * factor * count >= most)
    return [step * number for number in range(int(math.ceil(most / step)) + 1)]


def plot(title, unit, series, across="s"):
    """An SVG of lines; `series` is a list of (name, [(x, y)]). Empty where there is nothing to show."""
    series = [(name, points) for name, points in series if points]
    if not series:
        return ""
    ys = ticks(max(y for _, points in series for _, y in points))
    xs = ticks(max(x for _, points in series for x, _ in points), 8)
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    at_x = lambda x: LEFT + wide * x / xs[-1]
    at_y = lambda y: TOP + high * (1 - y / ys[-1])
    out = [f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" xmlns="http://www.w3.org/2000/svg" '
           'font-family="system-ui, sans-serif" font-size="11">',
           f'<text x="{LEFT}" y="16" font-weight="600" font-size="12">{html.escape(title)}, {html.escape(unit)}</text>']
    for y in ys:
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at_y(y):.1f}" y2="{at_y(y):.1f}" stroke="#e6e8eb"/>'
                   f'<text x="{LEFT - 6}" y="{at_y(y) + 4:.1f}" text-anchor="end">{figure(y)}</text>')
    for x in xs:
        anchor = "end" if x == xs[-1] else "middle"
        out.append(f'<text x="{at_x(x):.1f}" y="{HEIGHT - 12}" text-anchor="{anchor}">{figure(x)}</text>')
    out.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 1}" text-anchor="end" fill="#57606a">{html.escape(across)}</text>')
    legend = WIDTH - RIGHT
    for (name, points), colour in reversed(list(zip(series, COLOURS))):
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in points)
        dots = "".join(f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="2" fill="{colour}"/>' for x, y in points) \
            if len(points) <= 30 else ""
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>{dots}')
        out.append(f'<text x="{legend}" y="16" text-anchor="end" fill="{colour}">{html.escape(name)}</text>')
        legend -= 7 * len(name) + 12
    return "\n".join(out + ["</svg>"])


def page(title, lead, machine, verdicts, figures, plots):
    """A whole report. `verdicts` has (what, value, passed); `figures` (what, value)."""
    escape = html.escape
    rows = "".join(f'<tr><td>{escape(what)}</td><td class="figure">{escape(figure(value))}</td>'
                   f'<td class="{"passed" if ok else "failed"}">{"passed" if ok else "FAILED"}</td></tr>'
                   for what, value, ok in verdicts)
    more = "".join(f'<tr><td>{escape(what)}</td><td class="figure">{escape(figure(value))}</td></tr>' for what, value in figures)
    lines = "".join(f"<li>{escape(line.lstrip('- '))}</li>" for line in machine)
    return (f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
            f"<h1>{escape(title)}</h1><p>{escape(lead)}</p><ul>{lines}</ul><h2>Thresholds</h2>"
            f"<table><tr><th>threshold</th><th>reached</th><th></th></tr>{rows}</table><h2>Figures</h2>"
            f"<table>{more}</table><h2>The server, second by second</h2>"
            f'<div class="plots">{"".join(plots)}</div></html>\n')
