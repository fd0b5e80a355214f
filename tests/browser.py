"""A headless Chromium for the browser tests.

It is driven through its DevTools protocol over a pair of pipes, so nothing but a Chromium binary is needed.
"""
import base64
import json
import os
import shutil
import subprocess
import sys
import time

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None)
FLAGS = ("--headless --no-sandbox --disable-gpu --enable-unsafe-swiftshader --disable-quic --no-first-run --disable-background-networking --disable-component-update "
         "--disable-sync --disable-extensions --hide-scrollbars --remote-debugging-pipe").split()
# The protocol wants its pipes as descriptors 3 and 4: move ours there, over numbers that are out of the way, and become the browser.
MOVE = ("import os, sys; a, b = (os.dup2(int(fd), at) for fd, at in zip(sys.argv[1:3], (90, 91))); "
        "os.dup2(a, 3); os.dup2(b, 4); os.execv(sys.argv[3], sys.argv[3:])")
LEFT = ("Inspected target navigated or closed", "Execution context was destroyed", "Cannot find context with specified id")
KEYS = {"Escape": 27, "ArrowDown": 40, "ArrowUp": 38, "Enter": 13, "Tab": 9, "/": 191, "0": 48}


def need_chromium():
    "Skip the test where there is no browser; fail it where one is required (SAETM_REQUIRE_BROWSER=1, or CI=1)."
    if CHROMIUM: return
    required = next((name for name in ("SAETM_REQUIRE_BROWSER", "CI") if os.environ.get(name, "").lower() not in ("", "0", "false", "no")), None)
    reason = "no chromium or google-chrome binary found; on Debian: apt-get install chromium"
    if required: pytest.fail(f"{reason} ({required} is set, so this is no skip)", pytrace=False)
    pytest.skip(reason)


class Browser:
    "A headless browser with one page; `events` collects what it reports."

    def __init__(self, folder, width=1400, height=900, dark=False):
        need_chromium()
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        self.process = subprocess.Popen([sys.executable, "-c", MOVE, str(theirs_in), str(theirs_out), CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "about:blank"], pass_fds=(theirs_in, theirs_out),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs_in), os.close(theirs_out)
        self.input, self.output = os.fdopen(ours_in, "rb"), os.fdopen(ours_out, "wb", buffering=0)
        self.count, self.events, self.session, self.rest = 0, [], None, b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"): self.call(f"{domain}.enable")
        self.window(width, height)
        self.theme(dark)

    def window(self, width, height):
        "Give the page another size; below 600 pixels it is a phone's."
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, screenWidth=width, screenHeight=height, deviceScaleFactor=1, mobile=width < 600)

    def theme(self, dark):
        "Set what the system prefers."
        features = [dict(name="prefers-color-scheme", value="dark" if dark else "light"), dict(name="prefers-reduced-motion", value="reduce")]
        self.call("Emulation.setEmulatedMedia", features=features)

    def message(self):
        while b"\0" not in self.rest:
            part = os.read(self.input.fileno(), 1 << 16)
            if not part: raise RuntimeError("the browser closed its pipe")
            self.rest += part
        first, self.rest = self.rest.split(b"\0", 1)
        return json.loads(first)

    def call(self, method, **params):
        self.count += 1
        request = dict(id=self.count, method=method, params=params) | ({"sessionId": self.session} if self.session else {})
        self.output.write(json.dumps(request).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.count:
                if "error" in answer: raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def run(self, script):
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer: raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def wait(self, script, seconds=120):
        end = time.monotonic() + seconds
        while not self.holds(script):
            if time.monotonic() > end: raise TimeoutError(f"never true: {script}")
            time.sleep(.02)

    def holds(self, script):
        "Tell whether a script is true; a page that is being left for another says no."
        try: return self.run(script)
        except RuntimeError as error:
            if not any(sign in str(error) for sign in LEFT): raise

    def open(self, address, ready="document.readyState === 'complete'", seconds=120):
        "Load a page, wait until `ready` holds and the page is drawn; `events` begins here."
        self.call("Page.navigate", url="about:blank")
        self.wait("location.href === 'about:blank'")
        self.events.clear()
        self.call("Page.navigate", url=address)
        self.wait(f"location.href !== 'about:blank' && ({ready})", seconds)
        self.drawn()

    def drawn(self): self.wait("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")

    def mouse(self, x, y, click=True):
        "Move the pointer, and click there; what the page does about it at its next frame is done when this returns."
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased") if click else ():
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.drawn()

    def click(self, selector):
        box = self.run(f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'nearest'}});"
                       " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()")
        self.mouse(*box)

    def press(self, key):
        code = dict(key=key, windowsVirtualKeyCode=KEYS[key]) | (dict(text="\r") if key == "Enter" else dict(text=key) if len(key) == 1 else {})
        for kind in ("keyDown", "keyUp"): self.call("Input.dispatchKeyEvent", type=kind, **code)
        self.drawn()

    def type(self, text): self.call("Input.insertText", text=text)

    def picture(self, path, full=False):
        "Save what is seen as a PNG file, or the page from top to bottom."
        clip = {}
        if full:
            box = self.call("Page.getLayoutMetrics")["cssContentSize"]
            clip = dict(captureBeyondViewport=True, clip=dict(x=0, y=0, width=box["width"], height=box["height"], scale=1))
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png", **clip)["data"]))

    def complaints(self, own=("file:",)):
        "Return errors and warnings of the console, exceptions, and requests to addresses that do not begin like the page's `own`."
        found = []
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown": found.append(params["exceptionDetails"])
            elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"): found.append(params["args"])
            elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"): found.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith((*own, "about:", "data:")): found.append(params["request"]["url"])
        return found

    def close(self):
        self.output.close()
        try: self.process.wait(10)
        except subprocess.TimeoutExpired: self.process.kill(), self.process.wait()
        self.input.close()
