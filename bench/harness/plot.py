"""plot: SVG, with Python's standard library alone: lines over a range of sizes, both axes logarithmic; and bars."""

import math

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 80, 230, 40, 60
COLOURS = ["#1b6ca8", "#c8553d", "#3a7d44", "#8a5a9e", "#b8860b", "#555555"]


def short(value):
    """1000000 as 1M."""
    for unit, letter in [(1e9, "G"), (1e6, "M"), (1e3, "k")]:
        if value >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


def decades(values):
    """The powers of ten around these values, as exponents."""
    return math.floor(math.log10(min(values))), max(math.ceil(math.log10(max(values))),
                                                    math.floor(math.log10(min(values))) + 1)


def lines(path, title, x_label, series):
    """series: name → [(x, y)], all positive; what is not is left out."""
    series = {name: [(x, y) for x, y in points if x > 0 and y > 0] for name, points in series.items()}
    every = [point for points in series.values() for point in points]
    if not every:
        return
    x_low, x_high = decades([x for x, _ in every])
    y_low, y_high = decades([y for _, y in every])

    def place(x, y):
        across = (math.log10(x) - x_low) / (x_high - x_low)
        up = (math.log10(y) - y_low) / (y_high - y_low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
           'font-size="13">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="24" font-size="16">{title}</text>']
    for exponent in range(x_low, x_high + 1):
        x, y = place(10**exponent, 10**y_low)
        out += [f'<path d="M{x:.1f} {TOP}V{y:.1f}" stroke="#ddd"/>',
                f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle">{short(10**exponent)}</text>']
    for exponent in range(y_low, y_high + 1):
        x, y = place(10**x_low, 10**exponent)
        out += [f'<path d="M{x:.1f} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>',
                f'<text x="{x - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{short(10**exponent)}</text>']
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 14}" text-anchor="middle">{x_label}</text>')
    for index, (name, points) in enumerate(item for item in series.items() if item[1]):
        colour = COLOURS[index % len(COLOURS)]
        places = [place(x, y) for x, y in points]
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="'
                   + " ".join(f"{x:.1f},{y:.1f}" for x, y in places) + '"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        out.append(f'<text x="{WIDTH - RIGHT + 12}" y="{TOP + 20 * index + 10}" fill="{colour}">{name}</text>')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(out + ["</svg>", ""]), encoding="utf-8")


BAR, GAP = 16, 14
COLOUR_OF = dict(zip(["shoal", "bun", "ws", "nats", "nchan", "redis", "floor", "floor-uring",
                      "floor-zc"],
                     ["#1b6ca8", "#c8553d", "#b8860b", "#3a7d44", "#8a5a9e", "#a03050", "#777777", "#aaaaaa",
                      "#444444"]))


def bars(path, title, rows):
    """rows: [(label, name → figure)]: a cluster of bars a row, each as long as its share of the row's largest."""
    out, y = [], TOP
    for label, figures in rows:
        longest = max(figures.values(), default=0) or 1
        out.append(f'<text x="{LEFT + 70}" y="{y + 12}" text-anchor="end" font-weight="bold">{label}</text>')
        for name, value in figures.items():
            width = (WIDTH - LEFT - RIGHT - 80) * value / longest
            out += [f'<rect x="{LEFT + 80}" y="{y}" width="{max(width, 1):.1f}" height="{BAR - 2}" '
                    f'fill="{COLOUR_OF.get(name, "#555555")}"/>',
                    f'<text x="{LEFT + 86 + width:.1f}" y="{y + 12}">{name} {value:,.3g}</text>']
            y += BAR
        y += GAP
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + GAP}" font-family="sans-serif" '
            'font-size="13">', f'<rect width="{WIDTH}" height="{y + GAP}" fill="white"/>',
            f'<text x="{LEFT}" y="24" font-size="16">{title}</text>']
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(head + out + ["</svg>", ""]), encoding="utf-8")
