"""Captions from a server that looks at what it is sent: what goes wrong with pictures and servers, and a killed run that goes on."""
import base64
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from servers import completion, serve  # noqa: F401

Image = pytest.importorskip("PIL.Image", reason="pictures need pip install 'saetm[vision]'")

from saetm.captions import CAPTION_PROMPT, EndpointCaptioner, TransformersCaptioner, caption_images, load_captions, prompt_hash  # noqa: E402
from saetm.cli import main  # noqa: E402

COMMAND = [sys.executable, "-c", "from saetm.cli import main; raise SystemExit(main())"]


def colour(i):
    "A colour for each number below 512, told apart after JPEG."
    return (i % 8 * 32 + 8, i // 8 % 8 * 32 + 8, i // 64 * 32 + 8)


def look(request):
    "Decode the picture of a request, check its form, and return it."
    (message,) = request["messages"]
    picture, text = message["content"]
    assert message["role"] == "user" and text == {"type": "text", "text": CAPTION_PROMPT} and picture["type"] == "image_url"
    head, _, data = picture["image_url"]["url"].partition(",")
    assert head == "data:image/jpeg;base64"
    image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    image.load()
    assert image.format == "JPEG" and image.mode == "RGB" and max(image.size) <= 1024
    return image


def number(request):
    "Which picture is it?"
    r, g, b = np.asarray(look(request), float).mean((0, 1)) // 32
    return int(r + 8 * g + 64 * b)


def painter(n, request):
    "Answer with the number of the picture."
    return 200, completion(f"Picture {number(request)},\n plain.")


@pytest.fixture
def folder(tmp_path):
    "Sixty pictures, each of one colour."
    (tmp_path / "pictures").mkdir()
    for i in range(60):
        Image.new("RGB", (24, 16), colour(i)).save(tmp_path / "pictures" / f"{i:03}.png")
    return tmp_path / "pictures"


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()]


def caption(server, images, out, *options):
    "Run the command in this process."
    return main(["caption", str(images), "--out", str(out), "--captioner", server.address, "--model", "internvl", *map(str, options)])


def test_what_is_sent_and_written(serve, folder, tmp_path, capsys):
    server = serve(painter)
    assert caption(server, folder, tmp_path / "a.jsonl") == 0
    entries = lines(tmp_path / "a.jsonl")
    assert entries == [dict(row=i, id=f"{i:03}.png", caption=f"Picture {i}, plain.", model="internvl", prompt=prompt_hash(CAPTION_PROMPT)) for i in range(60)]
    sent = server.requests[0]
    assert sent["model"] == "internvl" and sent["temperature"] == 0 and sent["max_tokens"] == 400
    assert caption(server, folder, tmp_path / "a.jsonl") == 0 and len(server.requests) == 60  # nothing is asked again
    (tmp_path / "prompt.txt").write_text("Describe this.")
    assert caption(server, folder, tmp_path / "a.jsonl", "--prompt", f"@{tmp_path}/prompt.txt") == 1
    assert "a.jsonl line 1 was made with another prompt" in capsys.readouterr().err and len(server.requests) == 60


def test_a_large_picture_is_sent_small(serve, tmp_path):
    sizes, server = [], serve(lambda n, r: (sizes.append(look(r).size), (200, completion("A wide picture.")))[1])
    pixels = np.arange(5472, dtype=np.uint8)[None, :, None] + np.zeros((3648, 1, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "large.jpg")
    Image.fromarray(pixels).save(tmp_path / "large.png", compress_level=1)
    report = caption_images([tmp_path / "large.jpg", tmp_path / "large.png", Image.new("RGB", (9, 7))], tmp_path / "a.jsonl", EndpointCaptioner(server.address, "m"))
    assert report.done == 3 and sorted(sizes) == [(9, 7), (1024, 683), (1024, 683)]
    assert max(len(json.dumps(request)) for request in server.requests) < 10**6


MEMORY = """
import resource, sys
from saetm.captions import EndpointCaptioner, caption_images, load_picture
load_picture(sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
report = caption_images([sys.argv[2]] * 7, sys.argv[3], EndpointCaptioner(sys.argv[1], "m", workers=8))
print(report.done, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_memory_does_not_grow_with_the_number_of_large_pictures(serve, tmp_path):
    server = serve(lambda n, r: time.sleep(.05) or (200, completion("A grey picture.")))
    Image.new("RGB", (5472, 3648), (90, 90, 90)).save(tmp_path / "large.png", compress_level=1)  # 60 MB when open
    out = subprocess.run([sys.executable, "-c", MEMORY, server.address, tmp_path / "large.png", tmp_path / "a.jsonl"], capture_output=True, text=True, timeout=120, check=True).stdout
    done, grown = map(float, out.split())
    assert done == 7 and grown < 250  # two at a time, not seven


def test_an_animated_picture_is_its_first_frame(serve, tmp_path):
    server = serve(painter)
    frames = [Image.new("RGB", (40, 40), colour(i)) for i in (7, 100, 200)]
    for suffix in ("gif", "webp", "png"):
        frames[0].save(tmp_path / f"moving.{suffix}", save_all=True, append_images=frames[1:], duration=80, **(dict(lossless=True) if suffix == "webp" else {}))
    assert Image.open(tmp_path / "moving.gif").n_frames == 3
    assert caption(server, tmp_path, tmp_path / "a.jsonl") == 0
    assert [entry["caption"] for entry in lines(tmp_path / "a.jsonl")] == ["Picture 7, plain."] * 3


def test_a_corrupt_picture_is_named_and_the_run_goes_on(serve, folder, tmp_path, capsys):
    server = serve(painter)
    whole = (folder / "003.png").read_bytes()
    for i, data in {3: whole[:40], 4: b"", 5: b"GIF89a and then nothing", 6: b"<html>It is no picture</html>"}.items():
        (folder / f"{i:03}.png").write_bytes(data)
    assert caption(server, folder, tmp_path / "a.jsonl") == 1
    err = capsys.readouterr().err
    assert "4 of 60 pictures have no caption (4 image); the first is 003.png: image: not a readable picture" in err and "--retry" in err
    entries = lines(tmp_path / "a.jsonl")
    assert [e["row"] for e in entries if "error" in e] == [3, 4, 5, 6] and len(entries) == 60 and len(server.requests) == 56
    (folder / "003.png").write_bytes(whole)
    assert caption(server, folder, tmp_path / "a.jsonl") == 1 and len(server.requests) == 56  # not tried again unasked
    assert caption(server, folder, tmp_path / "a.jsonl", "--retry") == 1 and len(server.requests) == 57
    assert [e["row"] for e in lines(tmp_path / "a.jsonl") if "error" in e] == [4, 5, 6]
    with pytest.raises(ValueError, match="no caption for 3 of 60 rows: 4 to 6; the first is '004.png': image"):
        load_captions(tmp_path / "a.jsonl")
    assert (load_captions(tmp_path / "a.jsonl", failed="empty").caption == "").sum() == 3


def test_a_404_of_the_server_a_refusal_and_a_slow_answer(serve, folder, tmp_path, capsys):
    def script(n, request):
        i = number(request)
        if i == 10:
            return 404, {"error": "no such picture"}
        if i == 11:
            return 200, completion(None, refusal="I do not describe people.")
        if i == 12:
            time.sleep(6)
        if i == 13:
            return 200, completion("<think>What could it be?</think>")
        return 200, completion("fine")

    server = serve(script)
    assert caption(server, folder, tmp_path / "a.jsonl", "--tries", 1, "--timeout", 4) == 1
    assert "4 of 60 pictures have no caption (2 server, 2 refused)" in capsys.readouterr().err
    errors = {e["id"]: e["error"] for e in lines(tmp_path / "a.jsonl") if "error" in e}
    assert "404 Not Found" in errors["010.png"] and "I do not describe people." in errors["011.png"] and "timed out" in errors["012.png"] and "an empty answer" in errors["013.png"]
    good = serve(painter)
    assert caption(good, folder, tmp_path / "a.jsonl", "--retry") == 0 and len(good.requests) == 4
    assert load_captions(tmp_path / "a.jsonl", n=60).caption.str.contains("Picture").sum() == 4


def test_addresses_of_pictures(serve, folder, tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    shop = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=shop.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{shop.server_port}"
    (tmp_path / "list.txt").write_text(f"{address}/005.png\n{address}/none.png\npictures/007.png\npictures/none.png\n")
    try:
        assert caption(serve(painter), tmp_path / "list.txt", tmp_path / "a.jsonl") == 1
    finally:
        shop.shutdown()
        shop.server_close()
    found = lines(tmp_path / "a.jsonl")
    assert [e.get("caption") for e in found] == ["Picture 5, plain.", None, "Picture 7, plain.", None]
    assert "none.png answered 404" in found[1]["error"] and "there is no file" in found[3]["error"]


@pytest.mark.parametrize("status, body, message, kept", [
    (404, {"error": "no such model"}, "no answer for 20 pictures in a row, the last: .*404 Not Found: .*no such model.*; check the address and the model", 0),
    (401, {"error": "wrong key"}, "401 Unauthorized: .*wrong key", 0),
    (200, b"<html>It works!</html>", "no answer for 20 pictures in a row, .*did not answer with JSON", 0),
])
def test_a_server_that_never_answers_stops_the_run(serve, folder, tmp_path, status, body, message, kept):
    server = serve(lambda n, r: (status, body))
    with pytest.raises((ValueError, ConnectionError), match=message):
        caption_images(sorted(folder.iterdir()), tmp_path / "a.jsonl", EndpointCaptioner(server.address, "m", workers=2, tries=1))
    assert len(server.requests) <= 26 and lines(tmp_path / "a.jsonl") == []
    good = serve(painter)
    assert caption_images(sorted(folder.iterdir()), tmp_path / "a.jsonl", EndpointCaptioner(good.address, "m")).done == 60


def test_a_busy_server_is_asked_again(serve, folder, tmp_path):
    server = serve(lambda n, r: painter(n, r) if n % 2 == 0 else (503, {}))
    report = caption_images(sorted(folder.iterdir()), tmp_path / "a.jsonl", EndpointCaptioner(server.address, "m", workers=1), count=5)
    assert (report.rows, report.done, len(server.requests)) == (5, 5, 10)


def test_killed_and_resumed(serve, folder, tmp_path):
    first, out = serve(lambda n, r: time.sleep(.03) or painter(n, r)), tmp_path / "a.jsonl"
    options = ["caption", folder, "--out", out, "--model", "m", "--workers", "3", "--captioner"]
    captioner = EndpointCaptioner(first.address, "m")                      # the client's import takes longer than the run below
    process, limit = subprocess.Popen([*COMMAND, *options, first.address], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL), time.monotonic() + 60
    while not out.exists() or out.read_bytes().count(b"\n") < 25:
        assert process.poll() is None and time.monotonic() < limit, "the run ended before it could be killed"
        time.sleep(.002)
    with pytest.raises(ValueError, match="a.jsonl is being written by another process"):
        caption_images(sorted(folder.iterdir()), out, captioner)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=30) == -signal.SIGKILL
    with open(out, "ab") as file:
        file.write(b'{"row": 9, "id": "0')  # as if it had been writing
    kept = [json.loads(line)["row"] for line in out.read_bytes().split(b"\n")[:-1]]
    assert 25 <= len(kept) == len(set(kept)) < 60
    second = serve(painter)
    assert main([str(option) for option in [*options, second.address]]) == 0
    entries = lines(out)
    assert [e["row"] for e in entries] == list(range(60))  # each once, none missing
    assert all(e["caption"] == f"Picture {e['row']}, plain." for e in entries)
    assert sorted(number(r) for r in second.requests) == sorted(set(range(60)) - set(kept))  # no picture that had a caption was sent again
    assert len(load_captions(out, n=60)) == 60


def test_shards_and_given_captions_from_the_shell(serve, folder, tmp_path, capsys):
    import pandas as pd
    server = serve(painter)
    files = sorted(folder.iterdir())
    table = pd.DataFrame(dict(image=[f.read_bytes() for f in files], key=[f.stem for f in files], tags=[["sun", "sea"] if i < 8 else None for i in range(60)]))
    table.to_parquet(tmp_path / "t.parquet")
    for start in (0, 20, 40):
        assert caption(server, tmp_path / "t.parquet", tmp_path / "shards" / f"{start}.jsonl", "--start", start, "--count", 20, "--name", "key", "--given", "tags") == 0
    assert len(server.requests) == 52
    assert main(["caption", str(tmp_path / "shards"), "--merge", "--out", str(tmp_path / "all.jsonl")]) == 0
    found = load_captions(tmp_path / "all.jsonl", n=60)
    assert found.id.tolist() == table.key.tolist() and found.caption[:9].tolist() == ["sun, sea"] * 8 + ["Picture 8, plain."] and found.model[7:9].tolist() == ["given", "internvl"]
    assert caption(server, tmp_path / "t.parquet", tmp_path / "shards" / "more.jsonl", "--start", 10, "--count", 20, "--name", "key") == 0
    capsys.readouterr()
    assert main(["caption", str(tmp_path / "shards"), "--merge", "--out", str(tmp_path / "all.jsonl")]) == 1
    assert "20 rows are described twice: 10 to 29" in capsys.readouterr().err
    assert main(["caption", str(tmp_path / "t.parquet")]) == 2
    for bad, told in ((["--image", "picture"], "has no column 'picture'"), (["--captioner", "clip"], "a captioner is the http address"), (["--start", "99"], "start must be in 0..60")):
        assert main(["caption", str(tmp_path / "t.parquet"), "--out", str(tmp_path / "x.jsonl"), *bad]) == 1
        assert told in capsys.readouterr().err


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    "A vision-language model with random weights and its processor, in a folder."
    transformers = pytest.importorskip("transformers", reason="a local model needs pip install 'saetm[vision]'")
    tokenizers = pytest.importorskip("tokenizers")
    words = ["<pad>", "<s>", "</s>", "<unk>", "<image>", *"a the red blue green sea sky tree house old of in with and under light".split()]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>", additional_special_tokens=["<image>"])
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    template = "{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }} {% endif %}{% endfor %}{% endfor %}"
    processor = transformers.LlavaProcessor(pictures, fast, patch_size=16, vision_feature_select_strategy="default", chat_template=template, num_additional_image_tokens=1)
    shape = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(image_size=32, patch_size=16, projection_dim=32, **shape),
        text_config=transformers.LlamaConfig(vocab_size=len(words), pad_token_id=0, bos_token_id=1, eos_token_id=2, **shape), image_token_index=4, image_token_id=4)
    folder = tmp_path_factory.mktemp("model")
    import torch
    torch.manual_seed(0)
    transformers.LlavaForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def test_a_model_on_this_machine(small_model, folder, tmp_path):
    captioner = TransformersCaptioner(small_model, max_tokens=6)
    files = sorted(folder.iterdir())[:3]
    report = caption_images(files, tmp_path / "a.jsonl", captioner)
    assert report.rows == 3 and report.asked == 3
    found = load_captions(tmp_path / "a.jsonl", failed="empty", n=3)
    assert all(len(text.split()) <= 6 for text in found.caption) and set(found.model) <= {small_model, ""}
    twin = TransformersCaptioner((captioner.processor, captioner.model), max_tokens=6, name="twin")
    with Image.open(files[0]) as image:
        assert twin(image.convert("RGB"), CAPTION_PROMPT) == captioner(image.convert("RGB"), CAPTION_PROMPT)
    options = ["caption", str(folder), "--out", str(tmp_path / "b.jsonl"), "--captioner", f"transformers:{small_model}", "--max-tokens", "6", "--count", "2"]
    assert main(options) in (0, 1) and len(lines(tmp_path / "b.jsonl")) == 2
