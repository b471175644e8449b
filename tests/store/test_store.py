import pickle
import subprocess
import sys

import pytest

import raykd
from raykd.store import Folder, Store, StoreError, open_store


def test_raykd_itself_costs_nothing_and_offers_the_store():
    assert raykd.open_store is open_store
    assert "open_store" in dir(raykd)
    with pytest.raises(AttributeError, match="raykd has no 'opn_store'"):
        _ = raykd.opn_store


def test_the_store_is_read_without_torch_ray_or_optuna():
    program = (
        "import sys, raykd; few = len(sys.modules); raykd.open_store\n"
        "print(few < 200, sorted({'torch', 'ray', 'optuna', 'botocore'} & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert run.stdout.split() == [b"True", b"[]"]


def test_studies(root, made):
    store = open_store(root, create=True)
    assert store.studies() == []
    for name in ("b", "a.1"):
        store.writer(name, made.spec).close()
    store.folder.write("artefacts/teacher/x/study.json", b"{}")
    store.folder.write("ray/study.json", b"{}")
    store.folder.write("mine/notes.txt", b"")
    store = open_store(root)
    assert store.studies() == ["a.1", "b"]
    assert store.study("b").name == "b"
    assert store.study("b").spec["name"] == "b"


def test_a_study_that_is_not_there(root, made):
    store = open_store(root, create=True)
    with pytest.raises(StoreError, match=r"no study 'x' in .*; there are: none yet"):
        store.study("x")
    store.writer("one", made.spec).close()
    store.writer("two", made.spec).close()
    with pytest.raises(StoreError, match=r"no study 'x' in .*; there are: one, two"):
        store.study("x")
    with pytest.raises(StoreError, match=r"no study '\.\./x'"):
        store.study("../x")


def test_a_store_that_is_not_there(root):
    with pytest.raises(StoreError, match=r"there is no store at .*: nothing is stored below it"):
        open_store(root)


def test_a_store_may_be_made(root):
    assert open_store(root, create=True).studies() == []


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "-x", "a b", "artefacts", "ray"])
def test_names_of_studies(tmp_path, made, name):
    with pytest.raises(StoreError, match="cannot name a study"):
        open_store(tmp_path, create=True).writer(name, made.spec)


def test_the_same_name_with_another_space_is_refused(root, made):
    store = open_store(root, create=True)
    store.writer("study", made.spec).close()
    other = made.spec | {"identity": {"seed": 7}}
    with pytest.raises(StoreError, match=r"seed is 0 there and 7 here.*Choose another name"):
        store.writer("study", other)


def test_pickles(root, made):
    store = open_store(root, create=True)
    with store.writer("study", made.spec) as writer:
        writer.append(made.finished(1, 0.5))
    study = store.study("study")
    study.best()
    again = pickle.loads(pickle.dumps(study))
    assert again.best() == study.best()
    assert isinstance(pickle.loads(pickle.dumps(store)), Store)
    assert repr(store) == f"Store({Folder(root).uri!r})"
