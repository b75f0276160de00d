#!/usr/bin/env python3
"""Draws speed.svg: how many times as fast as a peer, from the ratios in peers.json. Both lie beside this file.

One panel a machine, one group of bars a weight type, one bar a cell; the line at 1 is the peer.
"""
import json
import pathlib

HERE = pathlib.Path(__file__).parent
BAR, GAP, GROUP_GAP = 15, 2, 22
LEFT, TOP, PLOT, FOOT = 36, 64, 190, 34
COLOURS = ("#2a6fb0", "#8a5ab5", "#c9772b", "#3f8f5b")
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f } .quiet { fill: #57606a; font-size: 11px } .title { font-weight: 600 }
.grid { stroke: #8c959f; stroke-opacity: .35 } .peer { stroke: #24292f; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .quiet { fill: #9aa4af } .peer { stroke: #e6edf3 } }
"""


def text(x, y, what, extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" {extra}>{what}</text>'


def panel(left, machine, types, n_cells, top_ratio):
    def height(ratio):
        return PLOT * ratio / top_ratio

    group = n_cells * (BAR + GAP) + GROUP_GAP
    width = group * len(types)
    base = TOP + PLOT
    out = [text(left, TOP - 12, machine, 'class="title"')]
    for ratio in range(0, int(top_ratio) + 1):
        y = base - height(ratio)
        out.append(f'<line class="{"peer" if ratio == 1 else "grid"}" x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}"/>')
        out.append(text(left - 6, y + 4, f"{ratio}x", 'class="quiet" text-anchor="end"'))
    for i, (name, ratios) in enumerate(types.items()):
        x = left + i * group + GROUP_GAP / 2
        for j, ratio in enumerate(ratios):
            at, y = x + j * (BAR + GAP), base - height(ratio)
            out.append(f'<rect x="{at:.1f}" y="{y:.1f}" width="{BAR}" height="{height(ratio):.1f}" fill="{COLOURS[j]}"/>')
        out.append(text(x + n_cells * (BAR + GAP) / 2, base + 18, name, 'text-anchor="middle"'))
    return out, left + width


def main():
    data = json.loads((HERE / "peers.json").read_text(encoding="utf-8"))
    top_ratio = max(r for types in data["machines"].values() for ratios in types.values() for r in ratios) * 1.05
    body, x = [], LEFT
    for machine, types in data["machines"].items():
        part, end = panel(x, machine, types, len(data["cells"]), top_ratio)
        body += part
        x = end + 2 * LEFT
    width, height = x - LEFT, TOP + PLOT + FOOT
    body.append(text(LEFT, 18, f"Times as fast as the peer ({data['peer']}; the line at 1x)"))
    at = LEFT
    for colour, cell in zip(COLOURS, data["cells"]):
        body.append(f'<rect x="{at}" y="26" width="10" height="10" fill="{colour}"/>' + text(at + 14, 35, cell, 'class="quiet"'))
        at += 96
    (HERE / "speed.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" '
        f'aria-label="Tallow beside a peer">\n<style>{STYLE}</style>\n' + "\n".join(body) + "\n</svg>\n", encoding="utf-8")


main()
