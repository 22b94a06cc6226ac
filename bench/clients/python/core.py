"""The scenarios, once for every client: what is asked, and what of an answer must be the same
whichever provider gave it."""

import concurrent.futures
import json
import math
import os
import pathlib
import threading
import types
import unittest

SPEC = json.loads((pathlib.Path(__file__).parent.parent / "scenarios.json").read_text())
MESH = None
if path := os.environ.get("CAUSEWAY_CLIENTS"):
    MESH = json.loads(pathlib.Path(path).read_text())
LOCK = threading.Lock()


class NotApplicable(Exception):
    """Says why a client cannot do what a scenario asks."""


class Abort(Exception):
    """Leaves a stream before its end."""


class Answer(types.SimpleNamespace):
    """text, thinking, calls [{id, name, args}], finish, in_, out, reasoning, chunks, turn."""


class End(types.SimpleNamespace):
    """Where a request goes: the provider itself, or one behind the relay."""


def direct():
    return End(direct=True, dialect=None, base=MESH["fake"], key="fake-provider-key", model=lambda name: name)


def via(dialect):
    return End(direct=False, dialect=dialect, base=MESH["edge"], key=MESH["key"], model=lambda name: f"{name}-via-{dialect}")


def request(client, s, end):
    family = SPEC["families"][client.family]
    model = SPEC["reasoning"][client.family] if s.get("think") else family["model"]
    return types.SimpleNamespace(
        base=end.base,
        key=end.key,
        model=end.model(model),
        system=SPEC["system"],
        history=[{"user": s.get("repeat", "") * s.get("times", 0) + s.get("user", ""), "image": SPEC["image"] if s.get("image") else None}],
        tools=SPEC["tools"][: s.get("tools", 0)],
        schema=SPEC["schema"] if s.get("schema") else None,
        think=s.get("think", False),
        stop=s.get("stop"),
        stream=s.get("stream", False),
        max=4000,
        chunk=lambda: None,
    )


def same(got, want, what):
    if got != want:
        raise AssertionError(f"{what}: {got!r}, want {want!r}")


def meaning(a, s):
    """What an answer means, whatever its protocol: what two ways to the same answer are compared by."""
    m = {"finish": a.finish, "counted": a.in_ > 0, "out": a.out}
    if "calls" in s:
        m["calls"] = [{"name": c["name"], "args": c["args"]} for c in a.calls]
    elif "json" in s:
        m["json"] = json.loads(a.text)
    elif "contains" in s:
        m["contains"] = s["contains"] in a.text
        del m["out"]
    else:
        m["text"] = a.text
    if "stop" in s:
        del m["out"]  # where the relay stops, the provider wrote on, and counts it
    if s.get("think"):
        m["thought"] = bool(a.thinking) or (a.reasoning or 0) > 0
    if s.get("stream") and "calls" not in s:  # calls may come whole
        m["streamed"] = a.chunks > 1
    if "atLeast" in s:
        m["read"] = a.in_ >= s["atLeast"]
    return m


def expected(s, m):
    """What the answer must mean: the direct call is held to it too."""
    for key in ("calls", "json", "text"):
        if key in s:
            same(m[key], s[key], key)
    for key in ("contains", "thought", "streamed", "read", "counted"):
        same(m.get(key, True), True, key)
    same(m["finish"], "tool_calls" if "calls" in s else "stop", "finish")


def conversation(client, s, end):
    ask = request(client, s, end)
    first = client.ask(ask)
    if s.get("think") and end.dialect == "openai-chat" and first.reasoning is None:
        raise NotApplicable("Chat Completions counts thinking without showing it, and this client does not tell the count")
    m = meaning(first, s)
    expected(s, m)
    if "results" in s:
        results = [{"id": c["id"], "name": c["name"], "text": text} for c, text in zip(first.calls, s["results"], strict=True)]
        ask.history.append({"turn": first.turn, "results": results})
        second = client.ask(ask)
        for text in s["results"]:
            same(text in second.text, True, f"{second.text!r} has {text!r}")
        m["second"] = second.finish
    return m


def failing(client, s, end):
    """The provider's refusals must come as the same exceptions when the relay gives them."""
    out = {}
    for f in s["failures"]:
        ask = request(client, s, end)
        if end.direct:
            ask.model = f["direct"]
        elif "model" in f:
            ask.model = end.model(f["model"])
        else:
            ask.key = MESH[f["key"]]
        for _ in range(3):  # a limit lets the first through
            try:
                client.ask(ask)
            except Exception as e:
                name, status = client.failure(e)
                break
        else:
            raise AssertionError(f"{f['direct']} was answered")
        if not end.direct:
            same(status, f["status"], f.get("key") or f["model"])
        out[f["direct"]] = "refused" if f.get("except") == client.family else name  # Google itself refuses a key with 400
    return out


def aborted(client, s, end):
    ask = request(client, s, end)
    chunks = 0

    def chunk():
        nonlocal chunks
        chunks += 1
        if chunks == s["abort"]:
            raise Abort

    ask.chunk = chunk
    try:
        client.ask(ask)
    except Abort:
        return "aborted"
    raise AssertionError(f"{chunks} chunks came")


def counted(client, s, end):
    if not hasattr(client, "count"):
        raise NotApplicable("the client cannot count tokens")
    n = client.count(request(client, s, end))
    same(3 < n < 60, True, f"{n} tokens")
    return "counted"


def embedded(client, s, end):
    if not hasattr(client, "embed"):
        raise NotApplicable("the client has no embeddings")
    ask = request(client, s, end)
    ask.model = end.model(SPEC["families"][client.family]["embed"])
    vectors = client.embed(ask, s["texts"])
    same(len(vectors), len(s["texts"]), "vectors")
    for v in vectors:
        same(len(v) >= 256 and abs(math.hypot(*v) - 1) < 0.01, True, f"{len(v)} dimensions of length {math.hypot(*v)}")
    return "embedded"


KINDS = {"error": failing, "abort": aborted, "count": counted, "embed": embedded}


def run(client, s, end):
    return KINDS.get(s["name"], conversation)(client, s, end)


def record(client, s, provider, status, reason=None):
    cell = {"client": client.name, "package": client.package, "provider": provider, "scenario": s["name"], "status": status}
    if reason:
        cell["reason"] = (reason.splitlines() or [""])[0][:500]
    with LOCK, open(MESH["out"], "a", encoding="utf-8") as f:
        f.write(json.dumps(cell) + "\n")
    return cell


def cells(client, s):
    """A row of the table: the client's scenario with each provider, compared with the direct call."""

    def everywhere(status, reason):
        return [record(client, s, d, status, reason) for d in MESH["dialects"]]

    try:
        want = run(client, s, direct())
    except NotApplicable as e:
        return everywhere("n/a", str(e))
    except Exception as e:
        return everywhere("n/a", f"fails at the provider itself: {type(e).__name__}: {e}")
    out = []
    for d in MESH["dialects"]:
        try:
            same(run(client, s, via(d)), want, "via the relay")
            out.append(record(client, s, d, "pass"))
        except Exception as e:
            refused = isinstance(e, NotApplicable) or "unsupported_conversion" in f"{e} {getattr(e, 'body', '')}"
            out.append(record(client, s, d, "n/a" if refused else "fail", str(e)))
    return out


def once(make):
    """Caches a client for each place, as a program would keep it, and makes it once among threads."""
    made, lock = {}, threading.Lock()

    def get(*args):
        with lock:
            if args not in made:
                made[args] = make(*args)
            return made[args]

    return get


def suite(*clients):
    """A test case with a method for each client."""

    def method(client):
        def test(self):
            with concurrent.futures.ThreadPoolExecutor(len(SPEC["scenarios"])) as pool:
                for row in pool.map(lambda s: cells(client, s), SPEC["scenarios"]):
                    for cell in row:
                        with self.subTest(provider=cell["provider"], scenario=cell["scenario"]):
                            self.assertNotEqual(cell["status"], "fail", cell.get("reason"))

        return test

    case = type("Clients", (unittest.TestCase,), {"test_" + c.name: method(c) for c in clients})
    return unittest.skipUnless(MESH, "needs a mesh: run it with `make clients`")(case)
