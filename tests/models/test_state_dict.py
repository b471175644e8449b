import argparse
import io
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save

from raykd.models.imagenet import resnet18
from raykd.models.resnet import CifarResNet
from raykd.models.state_dict import fitting_state, read_content
from raykd.models.vgg import vgg8


def network():
    return CifarResNet(1, (4, 4, 4, 4), 4, 1)


def saved(content, **options):
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(1)
    return network().state_dict()


def loaded(content, model=None):
    data = content if isinstance(content, bytes) else saved(content)
    return fitting_state(model or network(), read_content(data, "file"), "file")


def same(found, state):
    return found.keys() == state.keys() and all(
        torch.equal(found[key], state[key]) for key in state
    )


def under(prefix, state):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def mangled(part, state):
    """As after compiling or parallelising a submodule."""
    return {name.replace(".", f".{part}.", 1): tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "put",
    [
        lambda s: {"state_dict": s},
        lambda s: {"model_state_dict": s, "epoch": 3},
        lambda s: {"net": s, "acc": torch.tensor(0.9), "optimizer": {"state": {0: s}}},
        lambda s: {"my_own_key": {"weights": s}},
        lambda s: {**s, "epoch": 3},
        lambda s: {"state_dict": s, "ema": dict(s)},
        lambda s: {"state_dict": s, "teacher": resnet18(num_classes=3).state_dict()},
        lambda s: under("module.", s),
        lambda s: under("_orig_mod.", s),
        lambda s: {"state_dict": under("model.", s)},
        lambda s: {"state_dict": under("module._orig_mod.model.", s)},
        lambda s: under("student.", s),
        lambda s: mangled("module", s),
        lambda s: under("_orig_mod.", mangled("_orig_mod", s)),
        lambda s: {name: torch.nn.Parameter(t, t.is_floating_point()) for name, t in s.items()},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_found_wherever_it_was_put(state, put, zipped):
    assert same(loaded(saved(put(state), _use_new_zipfile_serialization=zipped)), state)


@pytest.mark.parametrize("model", [lambda: resnet18(num_classes=5), lambda: vgg8(10)])
def test_wrapped_without_counts(model):
    whole = model().state_dict()
    old = {name: t for name, t in whole.items() if not name.endswith("num_batches_tracked")}
    found = loaded({"state_dict": under("module.", old)}, model())
    assert found.keys() == whole.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in old.items())


def test_a_single_missing_count_is_a_fault(state):
    name = next(name for name in state if name.endswith("num_batches_tracked"))
    with pytest.raises(ValueError, match=rf"1 missing: {name}\)"):
        loaded({key: tensor for key, tensor in state.items() if key != name})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_cast(state, dtype):
    other = {k: t.to(dtype) if t.is_floating_point() else t for k, t in state.items()}
    model = network()
    model.load_state_dict(loaded(other))
    for key, tensor in model.state_dict().items():
        assert tensor.dtype == state[key].dtype
        assert torch.equal(tensor, other[key].to(tensor.dtype))


def test_several_states_of_one_network_are_ambiguous(state):
    ema = {key: tensor + 1 for key, tensor in state.items()}
    with pytest.raises(ValueError, match=r"several states .*, under 'model', 'ema.module'"):
        loaded({"model": state, "ema": {"module": ema}})


def test_what_does_not_fit_is_named_under_its_key_and_bare_name(state):
    other = {**state, "fc.weight": torch.zeros(9, 4)}
    with pytest.raises(
        ValueError, match=r"file under 'net' don't .*1 of another shape: fc.weight is \(9, 4\)"
    ):
        loaded({"net": under("module.", other), "best": torch.tensor(1.0)})


def test_integers_in_place_of_weights(state):
    with pytest.raises(ValueError, match=r"1 of another type: fc.weight is int8 and should be fl"):
        loaded({**state, "fc.weight": torch.zeros(state["fc.weight"].shape, dtype=torch.int8)})


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_values_that_are_not_finite(state, value):
    broken = state["fc.bias"].clone()
    broken[1] = value
    for data in (saved({**state, "fc.bias": broken}), save({**state, "fc.bias": broken})):
        with pytest.raises(ValueError, match=r"not finite .* in 1 tensors: fc.bias"):
            loaded(data)
    with pytest.raises(ValueError, match=r"not finite .*: fc.bias"):
        loaded({**state, "fc.bias": torch.full((4,), 1e300, dtype=torch.float64)})


def test_a_mapping_that_holds_itself(state):
    content = {"state": state}
    content["self"] = content
    assert same(loaded(content), state)


class Traced(torch.nn.Module):
    def forward(self, x):
        return x + 1


def scripted():
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(Traced()), buffer)
    return buffer.getvalue()


def archive():
    buffer = io.BytesIO()
    np.savez(buffer, weight=np.zeros(3))
    return buffer.getvalue()


WEIGHT = {"w": torch.zeros(1000)}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"\n<!DOCTYPE html><html>not found</html>", "an HTML or XML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x08\x07\x12\x07pytorch", "ONNX and TensorFlow"),
        (b'{"weight_map": {}}', "JSON"),
        (b"no weights", "it begins with b'no weights'"),
        (saved(WEIGHT)[:-100], "end is missing or damaged"),
        (saved(WEIGHT, _use_new_zipfile_serialization=False)[:-100], "damaged or cut short"),
        (save(WEIGHT)[:-100], "safetensors content is damaged or cut short"),
        (save(WEIGHT)[:20], "safetensors content is damaged or cut short"),
        (pickle.dumps({"w": 1}), "a pickle that torch.save did not write"),
        (scripted(), "a TorchScript archive"),
        (archive(), r"other things \(weight.npy\)"),
        (saved(network()), r"a whole pickled model \(raykd.models.*CifarResNet"),
        (saved({"model": WEIGHT, "acc": np.float64(1)}), "holds numpy.*scalar, numpy.dtype"),
        (saved({"model": WEIGHT, "args": argparse.Namespace(lr=1)}), "holds argparse.Namespace"),
        (
            saved(argparse.Namespace(lr=1), _use_new_zipfile_serialization=False),
            "holds argparse.Namespace",
        ),
    ],
)
def test_other_files_are_refused_for_what_they_are(data, reason):
    with pytest.raises(ValueError, match=f"file is neither .*{reason}") as caught:
        read_content(data, "file")
    told = str(caught.value)
    assert told.isprintable()
    assert not any(word in told for word in ("weights_only", "can still be loaded", "succeed"))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_wrong_byte_is_another_number_or_one_sentence(zipped):
    whole = saved({"w": torch.zeros(40)}, _use_new_zipfile_serialization=zipped)
    refused = 0
    for at in range(0, len(whole), 3):
        data = bytearray(whole)
        data[at] ^= 0xFF
        try:
            read_content(bytes(data), "file")
        except ValueError as error:  # no other error may come
            refused += str(error).startswith("file is neither safetensors nor")
    assert refused > 50
