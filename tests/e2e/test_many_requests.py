"""Many requests on one worker: who waits and who goes first, what fits, whose prefixes are shared, and that nothing is left
behind."""

import random
import threading
import time

from http_client import Stream, execute, get, health, post, text_of, wait_until

PROMPT = "Once upon a time"
LONG = {"prompt": PROMPT, "max_tokens": 2000, "ignore_eos": True}


def whole(port, key=None, **fields):
    headers = {"Authorization": "Bearer " + key} if key else {}
    return post(port, "/execute", dict({"stream": False, "ignore_eos": True}, **fields), headers=headers)


def counter(port, name):
    lines = get(port, "/metrics").body.decode().splitlines()
    return float(dict(line.rsplit(" ", 1) for line in lines if line.startswith(name))[name])


# ---- the prefix cache ----


def test_prefixes_are_shared_per_key_or_by_all(worker, tmp_path):
    keys = tmp_path / "keys"
    keys.touch(0o600)
    keys.write_text("first\nsecond\n")
    fields = {"prompt": "word " * 300, "max_tokens": 8, "temperature": 0}

    def cached_and_text(port, key):
        answer = whole(port, key, **fields).json()
        cached, n_prompt = answer["usage"]["cached_tokens"], answer["usage"]["prompt_tokens"]
        assert cached == 0 or n_prompt / 2 < cached < n_prompt
        return cached, answer["text"]

    for flags, shared in (((), False), (("--share-cache",), True)):
        started = worker("--api-key-file", keys, *flags)
        cold, text = cached_and_text(started.port, "first")
        warm, again = cached_and_text(started.port, "first")
        assert cold == 0 < warm and again == text
        assert cached_and_text(started.port, "second") == (warm if shared else 0, text)
        assert cached_and_text(started.port, "second") == (warm, text)
        told = dict(line.rsplit(" ", 1) for line in get(started.port, "/metrics", headers={
            "Authorization": "Bearer first"}).body.decode().splitlines() if line.startswith("worker_cached_tokens"))
        assert float(told["worker_cached_tokens_total"]) == warm * (3 if shared else 2)
        with Stream(started.port, "/execute", fields, headers={"Authorization": "Bearer first"}) as stream:
            events = list(stream)
        assert events[0][1]["cached_tokens"] == events[-1][1]["usage"]["cached_tokens"] == warm


# ---- who waits, who is refused ----


def test_what_fits_runs_what_must_wait_waits_what_never_fits_is_refused(worker):
    port = worker("--kv-memory", "3500KiB").port  # four pages where they are largest
    pages = health(port)["kv_pages_total"]
    answer = whole(port, prompt=PROMPT, max_tokens=2000)
    error = answer.json()["error"]
    assert answer.status == 400 and error["code"] == "INSUFFICIENT_MEMORY" and error["retriable"] is False
    most = int(error["message"].split("at most ")[1].split()[0])
    assert "the pool has %d" % pages in error["message"] and 100 < most < 2000
    # Four that each may fill the whole pool: as many as have pages to begin with are let in at once (two, where pages are
    # large), the newer ones pause when it is full, and all say what they say alone.
    bodies = [dict(LONG, max_tokens=most - 20, seed=seed) for seed in range(4)]
    alone = [execute(port, body) for body in bodies]
    assert counter(port, "worker_pauses_total") == 0
    streams = [Stream(port, "/execute", body) for body in bodies]
    wait_until(lambda: counter(port, "worker_pauses_total") > 0)
    assert health(port)["active"] >= 2
    for stream, expected in zip(streams, alone):
        events = list(stream)
        assert events[-1][0] == "end" and events[-1][1]["tokens_out"] == most - 20
        assert text_of(events) == text_of(expected) and events[-1][1]["usage"]["cached_tokens"] == 0
        stream.close()
    assert health(port)["kv_pages_free"] == pages


def test_priority_goes_first(worker):
    port = worker("--parallel", "1").port
    order = []

    def one(priority):
        with Stream(port, "/execute", dict(LONG, max_tokens=30, priority=priority)) as stream:
            assert next(stream)[0] == "started"
            order.append(priority)
            assert list(stream)[-1][0] == "end"

    with Stream(port, "/execute", LONG) as first:
        assert next(first)[0] == "started"
        threads = []
        for priority in (-10, 0, 10, 5):
            threads.append(threading.Thread(target=one, args=(priority,)))
            threads[-1].start()
            wait_until(lambda: health(port)["queued"] == len(threads))
    for thread in threads:
        thread.join()
    assert order == [10, 5, 0, -10]


def test_the_queue_is_bounded_by_prompt_tokens(worker):
    port = worker("--parallel", "1", "--queue-tokens", "200").port
    with Stream(port, "/execute", LONG) as first:
        assert next(first)[0] == "started"
        with Stream(port, "/execute", dict(LONG, prompt="word " * 300)):  # may wait alone
            wait_until(lambda: health(port)["queued"] == 1)
            answer = whole(port, prompt=PROMPT, max_tokens=1)
            assert answer.status == 429 and "prompt tokens" in answer.json()["error"]["message"]
            seconds = int(answer.headers["retry-after"])
            assert seconds >= 1 and "in %d s" % seconds in answer.json()["error"]["message"]
            assert get(port, "/v1/ready").status == 503
        wait_until(lambda: health(port)["queued"] == 0)
        assert get(port, "/v1/ready").status == 200


def test_a_deadline_in_the_queue(worker):
    port = worker("--parallel", "1").port
    with Stream(port, "/execute", LONG) as first:
        assert next(first)[0] == "started"
        answer = whole(port, prompt=PROMPT, max_tokens=1, deadline_ms=40)
        assert answer.status == 503 and answer.json()["error"]["code"] == "DEADLINE_EXCEEDED"
        events = execute(port, {"prompt": PROMPT, "max_tokens": 1, "deadline_ms": 40})
        assert [name for name, _ in events] == ["error"] and events[0][1]["code"] == "DEADLINE_EXCEEDED"
        assert health(port)["active"] == 1 and next(first)[0] == "token"


# ---- nothing is left behind ----


def test_a_storm_of_clients_leaves_no_page_behind(worker):
    """Some are cancelled, some leave, some are late, from two dozen at once; the others get what they get alone."""
    port = worker("--parallel", "4", "--queue", "100", "--kv-memory", "16MiB").port
    before = health(port)
    body = {"prompt": PROMPT, "max_tokens": 60, "temperature": 0, "ignore_eos": True}
    expected = text_of(execute(port, body))
    wrong, whole_ones = [], []

    def one(number):
        draw = random.Random(number)
        for round_ in range(4):
            name = "storm-%d-%d" % (number, round_)
            fate = draw.choice(("whole", "cancel", "leave", "late"))
            fields = dict(body, job_id=name, priority=draw.randint(-10, 10))
            if fate != "whole":
                fields["prompt"] = "word " * draw.randint(1, 600)
            if fate == "late":
                fields["deadline_ms"] = draw.randint(1, 200)
            with Stream(port, "/execute", fields) as stream:
                if fate in ("cancel", "leave"):
                    time.sleep(draw.random() * 0.2)
                if fate == "leave":
                    continue
                if fate == "cancel":
                    post(port, "/cancel", {"job_id": name})
                events = list(stream)
            if events[-1][0] == "error" and events[-1][1]["code"] not in ("CANCELLED", "DEADLINE_EXCEEDED"):
                wrong.append((fate, events[-1]))
            if fate == "whole":
                whole_ones.append(name)
                if events[-1][0] != "end" or text_of(events) != expected:
                    wrong.append((fate, events[-1]))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(whole_ones) > 10
    wait_until(lambda: health(port)["active"] + health(port)["queued"] == 0)
    assert health(port)["kv_pages_free"] == before["kv_pages_free"] == before["kv_pages_total"]
