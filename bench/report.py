"""Frame times of the report's map with many documents, in a headless browser without a graphics card.

    python bench/report.py [--docs 50000] [--rounds 3] [--write results/report.md]

A report of made-up documents is opened from its file. While the map is dragged and zoomed, an event a frame, the page notes the time from one frame to the next (16.7 ms is the pace
of the screen) and the browser how long its main thread was computing (processor time, which other work on the machine does not change). In turn with it a plain page draws the same dots as circles of the canvas, a path for each topic, as the report once did.
"""
import argparse, json, os, sys, tempfile, time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from browser import Browser  # noqa: E402

from saetm.report import write_report  # noqa: E402

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--docs", type=int, default=50_000)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--plotly", type=int, default=100_000, help="documents of the plotly figure; 0 leaves it out")
parser.add_argument("--write", type=Path)
args = parser.parse_args()

MOVES = """(() => new Promise(done => {
  const canvas = document.querySelector('canvas'), box = canvas.getBoundingClientRect(), [x, y] = [box.x + box.width / 2, box.y + box.height / 2], times = [], n = %d, kind = '%s';
  const pointer = (type, at) => canvas.dispatchEvent(new PointerEvent(type, {pointerId: 1, clientX: x + at, clientY: y + at / 2, bubbles: true}));
  canvas.setPointerCapture = () => {};
  let last = performance.now(), i = 0;
  if (kind === 'pan') pointer('pointerdown', 0);
  const step = now => {
    times.push(now - last); last = now;
    if (kind === 'pan') pointer('pointermove', 120 * Math.sin(i / 12));
    else if (kind === 'zoom') canvas.dispatchEvent(new WheelEvent('wheel', {deltaY: i %% 60 < 30 ? -40 : 40, clientX: x, clientY: y, bubbles: true, cancelable: true}));
    else pointer('pointermove', 8 * i %% 400 - 200);
    if (i++ < n) requestAnimationFrame(step); else { if (kind === 'pan') pointer('pointerup', 0); done(times.slice(1)); }
  };
  requestAnimationFrame(step);
}))()"""
SEARCH = """(() => new Promise(done => { const box = document.querySelector('#search'), start = performance.now(); box.value = 'word12'; box.dispatchEvent(new Event('input'));
  const look = () => document.querySelector('#panel h2').textContent.includes('word12') ? requestAnimationFrame(() => done(performance.now() - start)) : setTimeout(look, 2); look(); }))()"""
CIRCLES = """<!doctype html><body style="margin:0"><canvas width="%d" height="%d"></canvas><script>
const canvas = document.querySelector('canvas'), pen = canvas.getContext('2d'), topics = %s;
let dx = 0, zoom = 1, waiting = false;
function draw() {
  waiting = false; pen.clearRect(0, 0, canvas.width, canvas.height);
  topics.forEach(([xs, ys], t) => {
    pen.fillStyle = `hsl(${t * 137} 60%% 50%%)`; pen.globalAlpha = .72; pen.beginPath();
    for (let i = 0; i < xs.length; i++) { const x = xs[i] * zoom + dx, y = ys[i] * zoom; if (x < -9 || y < -9 || x > canvas.width + 9 || y > canvas.height + 9) continue; pen.moveTo(x + 1.7, y); pen.arc(x, y, 1.7, 0, 6.2832); }
    pen.fill();
  });
}
const redraw = () => { if (!waiting) { waiting = true; requestAnimationFrame(draw); } };
canvas.addEventListener('pointermove', event => { dx = event.offsetX - canvas.width / 2; redraw(); });
canvas.addEventListener('wheel', event => { zoom *= Math.exp(-event.deltaY * .0022); redraw(); });
draw();
</script>"""


def contents(n, n_topics=50):
    "Make up documents in groups on a page."
    random, words = np.random.default_rng(0), [f"word{i}" for i in range(2000)]
    topic = np.sort(random.integers(0, n_topics, n))
    page = random.normal(size=(n_topics, 2))[topic] * 6 + random.normal(size=(n, 2))
    text = [" ".join(words[i] for i in row) for row in random.integers(0, 2000, (n, 24))]
    topics = [dict(id=t, words=[(words[10 * t + i], 1 / (1 + i)) for i in range(10)], size=int((topic == t).sum())) for t in range(n_topics)]
    return dict(topics=topics, facts=dict(documents=n), documents=dict(x=page[:, 0], y=page[:, 1], topic=topic, text=text))


def main_thread(browser):
    "Return the processor seconds of the page's main thread so far."
    return {metric["name"]: metric["value"] for metric in browser.call("Performance.getMetrics")["metrics"]}["TaskDuration"]


def moved(browser, kind, frames=120):
    "Return frame times in ms, and milliseconds of the main thread a frame."
    before = main_thread(browser)
    times = browser.run(MOVES % (frames, kind))
    return times, 1000 * (main_thread(browser) - before) / len(times)


def plotly_figure(browser, folder, n, sample=None):
    "Return what it takes to open `visualize_documents` with n documents, and to draw it again after the page was moved."
    from saetm.interactive import visualize_documents
    made = contents(n)["documents"]
    figure = visualize_documents(np.column_stack([made["x"], made["y"]]), made["topic"], [f"topic {t}" for t in range(50)], made["text"], sample=sample)
    figure.write_html(folder / "figure.html", include_plotlyjs=True)
    browser.open("about:blank#again", "true")
    before = main_thread(browser)
    browser.open((folder / "figure.html").as_uri(), "document.querySelector('.js-plotly-plot .main-svg') !== null")
    opened, moves = main_thread(browser) - before, []
    for step in range(3):
        before, start = main_thread(browser), time.monotonic()
        browser.run(f"Plotly.relayout(document.querySelector('.js-plotly-plot'), {{'xaxis.range': [{-9 - step}, 9]}}).then(() => 1)")
        browser.drawn()
        moves.append((main_thread(browser) - before, time.monotonic() - start))
    processor, wall = np.median(moves, axis=0)
    return dict(docs=n, drawn=sum(len(trace.x) for trace in figure.data), bytes=(folder / "figure.html").stat().st_size, open=round(opened, 2), move=round(float(processor), 3), wall=round(float(wall), 2))


found = {name: [] for name in ("pan", "zoom", "hover", "circles: pan", "circles: zoom")}
with tempfile.TemporaryDirectory() as folder:
    folder, made = Path(folder), contents(args.docs)
    size = write_report(folder / "report.html", title="Many documents", **made)
    browser = Browser(folder / "profile", width=1280, height=900)
    browser.call("Performance.enable", timeDomain="threadTicks")
    opened, searched = [], []
    for _ in range(args.rounds):
        start = time.monotonic()
        browser.open((folder / "report.html").as_uri(), "document.documentElement?.dataset.ready === 'yes'")
        opened.append(time.monotonic() - start)
        time.sleep(1.5)                                           # documents are prepared for the search in the pauses after the page has opened
        wide, high = browser.run("(() => { const b = document.querySelector('canvas').getBoundingClientRect(); return [b.width, b.height]; })()")
        for kind in ("pan", "zoom", "hover"): found[kind].append(moved(browser, kind))
        searched.append(browser.run(SEARCH))
        assert browser.complaints() == [], browser.complaints()
        x, y, topic = (np.asarray(made["documents"][name]) for name in ("x", "y", "topic"))
        scale = min(wide / np.ptp(x), high / np.ptp(y)) * .92
        places = [[np.round((values[topic == t] - values.min()) * scale, 1).tolist() for values in (x, y)] for t in range(50)]
        (folder / "circles.html").write_text(CIRCLES % (wide, high, json.dumps(places)))
        browser.open((folder / "circles.html").as_uri())
        for kind in ("pan", "zoom"): found[f"circles: {kind}"].append(moved(browser, kind, 40))
    figures = [plotly_figure(browser, folder, args.plotly, sample) for sample in (None, .3)] if args.plotly else []
    browser.close()

rows = {}
for kind, rounds in found.items():
    times = np.concatenate([times for times, _ in rounds])
    rows[kind] = dict(median=float(np.median(times)), p95=float(np.quantile(times, .95)), busy=float(np.median([busy for _, busy in rounds])), frames=len(times))
ratios = [round(slow / fast, 1) for (_, slow), (_, fast) in zip(found["circles: pan"], found["pan"])]
for kind, row in rows.items(): print(f"{kind:14} frame {row['median']:.1f} ms, 95% below {row['p95']:.1f} ms; processor {row['busy']:.1f} ms a frame ({row['frames']} frames)")
for figure in figures: print("plotly        ", figure)
if args.write:
    names = {"pan": "the report, dragged", "zoom": "the report, zoomed", "hover": "the report, pointer over the dots", "circles: pan": "circles, dragged", "circles: zoom": "circles, zoomed"}
    table = "\n".join(f"| {names[kind]} | {row['median']:.1f} | {row['p95']:.1f} | {row['busy']:.1f} |" for kind, row in rows.items())
    args.write.write_text(f"""# The report's map with {args.docs:,} documents

`python bench/report.py`: headless Chromium without a graphics card, window of 1280 x 900, map of {wide:.0f} x {high:.0f} pixels, {args.rounds} rounds; two cores of a virtual x86-64 machine, shared with other work (load {os.getloadavg()[1]:.0f}). A frame of 16.7 ms is the pace of the screen.
The file has {size / 1e6:.1f} MB and is open, drawn and searchable {np.median(opened):.1f} s after it was asked for; a search shows its documents after {np.median(searched):.0f} ms, of which it waits 90 for the next key. *Circles* is a plain page with the same dots, drawn as circles of the canvas, a path for each topic.

| what moves | ms from frame to frame, median | 95% of frames below | processor ms of the main thread a frame |
|---|---|---|---|
{table}

While dragged, the report's map takes {np.median(ratios):.1f} times less of the main thread than circles do (rounds: {', '.join(map(str, ratios))}).
""" + (f"""
## `visualize_documents` with {figures[0]['docs']:,} documents

The plotly figure with texts, in the same browser. Moving it is the graphics card's work; here there is none, and the processor draws in its place, so the last column is the worst case.

| dots drawn | file, MB | to open, processor s of the main thread | to move, processor s of the main thread | from a move to the picture, s |
|---|---|---|---|---|
{chr(10).join(f"| {figure['drawn']:,} | {figure['bytes'] / 1e6:.1f} | {figure['open']} | {figure['move']} | {figure['wall']} |" for figure in figures)}
""" if figures else ""), encoding="utf-8")
print(json.dumps(dict(bench="report", ratio=float(np.median(ratios)), ratios=ratios, agree=None, docs=args.docs, bytes=size, seconds_to_open=[round(s, 2) for s in opened], ms_to_search=[round(ms) for ms in searched], plotly=figures, frames=rows, machine=dict(cores=os.cpu_count()))))
