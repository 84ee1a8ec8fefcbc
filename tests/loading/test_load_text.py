from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from actprune.data.split import heldout
from actprune.data.text import Text
from actprune.errors import ActpruneError
from actprune.loading.data import load_data, own_data
from actprune.loading.documents import documents_of
from actprune.loading.model import LoadedModel, load_model

LETTERS = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(128, 2)
    def forward(self, x):
        return self.table(x)
    def get_input_embeddings(self):
        return self.table

def net():
    made = Net()
    made.tokenizer = lambda texts: [list(t.encode()) for t in texts]
    return made

def bare():
    return Net()

def named():
    made = net()
    made.tokenizer = "gpt2"
    return made

def pair():
    made = net()
    made.tokenizer = lambda texts: {"input_ids": []}
    return made

def fails():
    made = net()
    made.tokenizer = lambda texts: [1 // 0 for t in texts]
    return made
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.py").write_text(LETTERS)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def net() -> LoadedModel:
    """A model of bytes below 128."""
    return load_model("net.py:net")


def load(spec: str, model: LoadedModel) -> Text:
    source = load_data(spec, model)
    assert isinstance(source, Text)
    return source


def texts(source: Text) -> list[str]:
    return [bytes(source.documents[i].tolist()).decode() for i in range(len(source.documents))]  # pyright: ignore


def error(spec: str, model: LoadedModel | None) -> str:
    with pytest.raises(ActpruneError) as e:
        list(load_data(spec, model).batches())
    assert "\n" not in str(e.value)
    return str(e.value)


@pytest.mark.parametrize(
    ("text", "rule", "documents"),
    [
        ("one\n<|endoftext|>\ntwo\n\nstill<|endoftext|>", "endoftext", ["one", "two\n\nstill"]),
        (
            " \n = Title = \n \n text \n = = Section = = \n x = y = z \n = Next = \n more \n",
            "headings",
            [" = Title = \n \n text \n = = Section = = \n x = y = z ", " = Next = \n more "],
        ),
        ("before\n = T = \nx", "headings", ["before", " = T = \nx"]),
        ("a\nb\n\n \n\nc\n\n", "blank", ["a\nb", "c"]),
        ("a = b = c\n= = D = =\n\nx", "blank", ["a = b = c\n= = D = =", "x"]),
    ],
)
def test_documents_are_told_apart_by_what_the_text_has(
    text: str, rule: str, documents: list[str]
) -> None:
    assert documents_of(text) == (documents, rule)


def test_the_rule_can_be_chosen(net: LoadedModel) -> None:
    Path("t.txt").write_text("a b\n\nc<|endoftext|>d\n")
    assert texts(load("text:t.txt", net)) == ["a b\n\nc", "d"]
    assert texts(load("text:t.txt,documents=blank", net)) == ["a b", "c<|endoftext|>d"]
    assert texts(load("text:t.txt,documents=lines", net)) == ["a b", "c<|endoftext|>d"]
    assert texts(load("text:t.txt,documents=headings", net)) == ["a b\n\nc<|endoftext|>d"]


def test_windows_and_the_spec_in_full(net: LoadedModel) -> None:
    Path("t.txt").write_bytes(b"\xef\xbb\xbfabc\r\n\r\nde\r\n")
    source = load("text:./t.txt,tokens=2", net)
    assert source.spec == "text:t.txt,tokens=2,documents=blank"
    (full, rest) = source.batches()
    assert full.args[0].tolist() == [[97, 98], [99, 100]]
    assert full.documents is not None
    assert full.documents.tolist() == [[0, 0], [0, 1]]
    assert rest.args[0].tolist() == [[101]]
    assert load("text:t.txt", net).length == 512
    assert load(source.spec, net).spec == source.spec
    assert full.run(net.model).shape == (2, 2, 2)


def test_names_with_commas_and_question_marks_are_found(net: LoadedModel) -> None:
    for name in ("a,b.txt", "what?tokens=2.txt", "x,tokens=3", "x,size=9"):
        Path(name).write_text("abcd")
        assert load(f"text:{name}", net).spec == f"text:{name},tokens=512,documents=blank"
        assert load(f"text:{name},tokens=2", net).length == 2


def test_a_held_out_third_is_a_third_of_the_documents(net: LoadedModel) -> None:
    Path("t.txt").write_text("\n".join(chr(65 + i % 26) * 7 for i in range(300)))
    source = load("text:t.txt,documents=lines,tokens=16", net)
    assert len(source.documents) == 300
    out, rest = source.where(lambda i: heldout(i, 0)), source.where(lambda i: ~heldout(i, 0))
    found = [
        torch.cat([b.documents.flatten() for b in s.batches() if b.documents is not None]).unique()
        for s in (out, rest)
    ]
    assert torch.cat(found).sort().values.tolist() == list(range(300))
    # binomial: 100 of 300 with a standard deviation of 8.2; 5 of them
    assert abs(len(found[0]) - 100) < 41


def test_special_tokens_are_those_of_the_models_tokenizer(llama: Path) -> None:
    Path("t.txt").write_text("a b\n\nc d e\n")
    source = load("text:t.txt", load_model(f"hf:{llama}"))
    assert source.length == 16  # the model takes no more
    (batch,) = source.batches()
    assert batch.args[0].tolist() == [[1, 3, 4, 1, 5, 6, 7]]
    assert batch.documents is not None
    assert batch.documents.tolist() == [[0, 0, 0, 1, 1, 1, 1]]
    assert batch.ids.tolist() == [0]


def test_windows_that_the_model_cannot_take(llama: Path) -> None:
    Path("t.txt").write_text("a b")
    assert error("text:t.txt,tokens=17", load_model(f"hf:{llama}")) == (
        "text:t.txt,tokens=17: the model takes at most 16 tokens, got tokens=17; give fewer."
    )


def test_mistakes_in_the_file(net: LoadedModel) -> None:
    Path("text.txt").write_text(" \n\n")
    assert error("text:text.txt", net) == (
        "text:text.txt: holds no text; give a file with at least one document."
    )
    Path("text.txt").write_bytes(b"abc\xff")
    assert error("text:text.txt", net) == (
        "text:text.txt: not UTF-8 text (byte 0xff at 3); convert the file to UTF-8."
    )
    assert error("text:txt.txt,tokens=5", net) == (
        "txt.txt: no such text file; did you mean text.txt?"
    )
    Path("text.txt").write_text("é")
    assert error("text:text.txt", net) == (
        "text:text.txt,tokens=512,documents=blank: the tokenizer gives token 195, but the model "
        "embeds only 128; use the tokenizer that belongs to the model."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "token=5",
            "unknown option 'token', known are tokens and documents; did you mean 'tokens'?",
        ),
        ("size=5", "unknown option 'size', known are tokens and documents."),
        ("tokens=5,tokens=6", "'tokens' is given twice; give it once."),
        ("tokens=many", "tokens must be a whole number from 1, got 'many'."),
        ("tokens=0", "tokens must be a whole number from 1, got '0'."),
        ("tokens=", "tokens must be a whole number from 1, got ''."),
        (
            "documents=line",
            "documents must be one of endoftext, headings, blank, lines, got 'line'; "
            "did you mean 'lines'?",
        ),
    ],
)  # fmt: skip
def test_mistakes_in_the_options(net: LoadedModel, options: str, message: str) -> None:
    Path("t.txt").write_text("abc")
    assert error(f"text:t.txt,{options}", net) == f"text:t.txt,{options}: {message}"


def test_a_model_that_cannot_read(net: LoadedModel) -> None:
    Path("t.txt").write_text("abc")
    assert error("text:t.txt", None) == (
        "text:t.txt: text is read by a model's tokenizer; name the model too."
    )
    assert error("text:t.txt", load_model("net.py:bare")) == (
        "net.py:bare: has no tokenizer, so text cannot be read; let the factory set the model's "
        "attribute 'tokenizer', or give token ids as npz:FILE."
    )
    assert error("text:t.txt", load_model("net.py:named")) == (
        "net.py:named: its 'tokenizer' must be one of transformers', or a function from a list of "
        "texts to lists of token ids, got str."
    )
    assert error("text:t.txt", load_model("net.py:pair")) == (
        "net.py:pair: its tokenizer must return one list of token ids for each of the 1 texts, "
        "got dict of length 1."
    )
    assert error("text:t.txt", load_model("net.py:fails")) == (
        "net.py:fails: its tokenizer failed: ZeroDivisionError: integer division or modulo by zero"
    )


def test_a_tokenizer_of_transformers_may_come_with_a_factory(llama: Path) -> None:
    opened = load_model(f"hf:{llama}").open_tokenizer
    assert opened is not None
    model = nn.Linear(1, 1)
    vars(model)["tokenizer"] = opened()
    loaded = LoadedModel(model=model, spec="mine", notes=(), open_tokenizer=opened)
    assert loaded.tokenizer().encode(["a"]) == [[1, 3]]
    assert loaded.tokenizer().positions is None


def test_which_models_bring_their_own_data() -> None:
    assert own_data("zoo:digits-mlp@3") == "zoo:digits-mlp"
    with pytest.raises(ActpruneError, match=r"^net\.py:net: only a zoo model brings its own data"):
        own_data("net.py:net")
    for spec in ("zoo:minilm", "zoo:smollm2-135m"):
        message = f"{spec}: this model has no data of its own; give --data, for instance text:FILE."
        with pytest.raises(ActpruneError) as e:
            own_data(spec)
        assert str(e.value) == error(spec, None) == message
