"""A headless Chromium by plain WebDriver: enough of it for tests of one page. Standard library only."""

import base64
import http.client
import json
import pathlib
import subprocess
import time

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
WAIT_S = 60
KEYS = {"Enter": "\ue007", "Escape": "\ue00c", "Shift": "\ue008", "Control": "\ue009", "Tab": "\ue004", "Right": "\ue014", "End": "\ue010"}


class WebDriverError(Exception):
    pass


class Driver:
    """chromedriver; its sessions are browsers with a profile of their own."""

    def __init__(self, log_path):
        self.process = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=open(log_path, "wb"), text=True)
        for line in self.process.stdout:
            if "successfully on port " in line:
                self.port = int(line.rsplit(" ", 1)[1].strip().rstrip("."))
                return
        raise WebDriverError("chromedriver does not start")

    def stop(self):
        self.process.terminate()
        self.process.wait(WAIT_S)


class Browser:
    def __init__(self, driver):
        self.port = driver.port
        self.session = ""
        arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars", "--lang=en-GB",
                     "--force-color-profile=srgb", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
        answer = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}}})
        self.session = "/session/" + answer["sessionId"]
        self.ask("POST", "/timeouts", {"script": 1000 * WAIT_S})

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2 * WAIT_S)
        connection.request(method, self.session + path, None if method != "POST" else json.dumps(body or {}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        value = json.loads(answer.read())["value"]
        connection.close()
        if answer.status != 200:
            raise WebDriverError("%s: %s" % (value["error"], value["message"]))
        return value

    def quit(self):
        self.ask("DELETE", "")

    # ---- the page ----

    def open(self, url):
        self.ask("POST", "/url", {"url": url})

    def js(self, script, *arguments):
        return self.ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def js_later(self, script, *arguments):
        """The script calls its last argument."""
        return self.ask("POST", "/execute/async", {"script": script, "args": list(arguments)})

    def cdp(self, command, **parameters):
        return self.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def wait(self, condition, why=None):
        """Until a function, or an expression of JavaScript, is true; its value."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            value = condition() if callable(condition) else self.js("return " + condition)
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError("never came: %s" % (why or condition))

    def all(self, selector):
        return [found[ELEMENT] for found in self.ask("POST", "/elements", {"using": "css selector", "value": selector})]

    def one(self, selector, text=None):
        """The element, visible or not; with that text, where several match."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            found = [one for one in self.all(selector) if text is None or self.text(one) == text]
            if found:
                return found[-1]
            time.sleep(0.05)
        raise AssertionError("no %s %s" % (selector, text or ""))

    def text(self, element):
        return self.js("return arguments[0].textContent", {ELEMENT: element})

    def click(self, selector, text=None):
        """A click of the mouse, as WebDriver makes one: what is hidden or covered cannot be clicked."""
        element = self.one(selector, text)
        self.js("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", {ELEMENT: element})
        self.ask("POST", "/element/%s/click" % element, {})

    def type(self, selector, text):
        self.ask("POST", "/element/%s/value" % self.one(selector), {"text": text})

    def clear(self, selector):
        self.ask("POST", "/element/%s/clear" % self.one(selector), {})

    def press(self, *names):
        """Keys to whatever has the focus: held together, the last one pressed."""
        keys = [KEYS.get(name, name) for name in names]
        actions = [{"type": "keyDown", "value": key} for key in keys] + [{"type": "keyUp", "value": key} for key in reversed(keys)]
        self.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def hover(self, selector, index=0):
        element = self.all(selector)[index]
        self.ask("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [
            {"type": "pointerMove", "duration": 0, "origin": {ELEMENT: element}, "x": 0, "y": 0}]}]})

    # ---- how it is looked at ----

    def size(self, width, height, phone=False):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone)

    def prefer(self, scheme, reduced=False):
        self.cdp("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce" if reduced else "no-preference"}])

    def screenshot(self, path):
        pathlib.Path(path).write_bytes(base64.b64decode(self.ask("GET", "/screenshot")))

    # ---- what it did ----

    def console(self):
        return self.ask("POST", "/se/log", {"type": "browser"})

    def requested(self, blocked=True):
        """The addresses of all requests since the last call; blocked: those, too, that the page's policy let not out."""
        events = [json.loads(entry["message"])["message"] for entry in self.ask("POST", "/se/log", {"type": "performance"})]
        stopped = {event["params"]["requestId"] for event in events
                   if event["method"] == "Network.loadingFailed" and event["params"].get("blockedReason") == "csp"}
        return [event["params"]["request"]["url"] for event in events
                if event["method"] == "Network.requestWillBeSent" and (blocked or event["params"]["requestId"] not in stopped)]
