"""A real browser for the tests: headless Chromium, driven through its pipe of JSON messages.

The protocol is the one that Chromium itself documents (Chrome DevTools Protocol); over a pipe
it needs neither a driver nor a library.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # which root may not have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-pipe",
)


def program():
    """The browser of this machine, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Left(AssertionError):
    """The page went away before it had answered."""


class Browser:
    """One page of a headless browser, and what it asks for and complains of.

    Parameters
    ----------
    profile : Path
        A new folder.

    Attributes
    ----------
    requests : list of str
        Every address that was asked for.
    complaints : list of str
        Errors of scripts, of loading, and what was written to the console.
    """

    def __init__(self, profile):
        self.requests, self.complaints = [], []
        self._number, self._unread, self._loaded = 0, b"", set()
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        command = [program(), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        # It reads from its third file and writes to its fourth.
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", *command],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._session = None

    def __enter__(self):
        try:
            targets = self._call("Target.getTargets")["targetInfos"]
            page = next(target for target in targets if target["type"] == "page")
            attached = self._call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
            self._session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self._call(f"{domain}.enable")
            self._call("Page.setLifecycleEventsEnabled", enabled=True)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def view(self, *, width=1280, height=800, dark=False, phone=False):
        """Set the size of the window, and what the person prefers."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def scripts(self, are_on):
        """Let pages run their scripts, or not."""
        self._call("Emulation.setScriptExecutionDisabled", value=not are_on)

    def open(self, address):
        """Load a page and wait until all of it is there."""
        loader = self._call("Page.navigate", url=str(address)).get("loaderId")
        self.wait(lambda: loader in self._loaded)

    def do(self, script):
        """Run a script in the page and return its value."""
        answer = self._call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def leave(self, script):
        """Run a script that leads to another page, which may be there before the answer is."""
        self.do(f"setTimeout(() => {{ {script} }}), null")

    def press(self, key):
        """Press a key of one character or of a name, such as ArrowLeft."""
        text = {"text": key} if len(key) == 1 else {}
        self._call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self._call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def drag(self, start, end):
        """Move the mouse from one point to another with its button held."""
        for kind, (x, y), held in (
            ("mousePressed", start, 1),
            ("mouseMoved", end, 1),
            ("mouseReleased", end, 0),
        ):
            self._call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                buttons=held,
                button="left",
                clickCount=1,
            )

    def wait(self, condition, seconds=60):
        """Wait until a condition holds: a script that gives true, or a function."""
        end = time.monotonic() + seconds
        test = condition if callable(condition) else lambda: self.do(condition)
        while not self._holds(test):
            assert time.monotonic() < end, condition
            self._hear(0.02)

    @staticmethod
    def _holds(test):
        try:
            return test()
        except Left:
            return False

    def picture(self, path, *, full=False):
        """Save what is seen."""
        data = self._call("Page.captureScreenshot", captureBeyondViewport=full)["data"]
        path.write_bytes(base64.b64decode(data))

    # --- messages

    def _call(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + 60
        while time.monotonic() < end:
            answer = self._hear(1)
            if answer and answer.get("id") == self._number:
                error = answer.get("error")
                if error and "navigated" in error["message"]:
                    raise Left(method, error)
                assert not error, (method, error)
                return answer["result"]
        raise AssertionError(f"{method}: no answer")

    def _hear(self, seconds):
        """Take in one message, if one comes so soon."""
        while b"\0" not in self._unread:
            if not select.select([self._in], [], [], seconds)[0]:
                return None
            piece = os.read(self._in, 1 << 16)
            assert piece, "the browser has ended"
            self._unread += piece
        text, _, self._unread = self._unread.partition(b"\0")
        message = json.loads(text)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method, said):
        if method == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        elif method == "Page.lifecycleEvent" and said["name"] == "load":
            self._loaded.add(said["loaderId"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(said["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(said["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(json.dumps(said["entry"]))
