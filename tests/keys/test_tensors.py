"""Keys of torch's tensors, modules and state."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from mlcache import ml_cache
from mlcache.errors import UnhashableArgumentError
from mlcache.keys import digest

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore:Sparse:UserWarning")  # torch calls its sparse tensors a beta


def tensor() -> Any:
    return torch.arange(12, dtype=torch.float32).reshape(3, 4)


def test_a_tensor_has_the_same_key_twice() -> None:
    assert digest(tensor()) == digest(tensor()) == digest((tensor(),)[0])
    assert digest(pickle.loads(pickle.dumps(tensor()))) == digest(tensor())


def test_strides_do_not_matter() -> None:
    turned = tensor().T.contiguous().T
    assert not turned.is_contiguous()
    assert digest(turned) == digest(tensor())
    assert digest(tensor().bfloat16().T) == digest(tensor().bfloat16().T.contiguous())


def test_dtypes_and_shapes_are_apart() -> None:
    names = ["uint8", "int8", "int16", "int32", "int64", "uint16", "bool"]
    names += ["float16", "bfloat16", "float8_e4m3fn", "float32", "float64", "complex64"]
    made = [tensor().to(getattr(torch, name)) for name in names]
    made += [
        tensor().T,
        tensor().reshape(-1),
        tensor()[0],
        tensor()[0, 0],
        tensor()[:0],
        tensor().numpy(),
        tensor().tolist(),
    ]
    made += [
        tensor().requires_grad_(),
        torch.nn.Parameter(tensor()),
        tensor().to_sparse(),
        tensor().to_sparse_csr(),
    ]
    assert len({digest(each) for each in made}) == len(made)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "bool", "complex64"])
def test_every_element_counts(dtype: str) -> None:
    zeros = torch.zeros(6, dtype=getattr(torch, dtype))
    keys = {digest(zeros)}
    for place in range(6):
        other = zeros.clone()
        other[place] = 1
        keys.add(digest(other))
    assert len(keys) == 7


def test_lazy_conjugates_stand_by_their_values() -> None:
    complex_one = tensor().to(torch.complex64) * 1j
    assert digest(complex_one.conj()) == digest(complex_one.conj().resolve_conj())
    assert digest(complex_one.conj()) != digest(complex_one)


def test_equal_sparse_tensors_are_equal() -> None:
    indices, values = [[0, 0, 1], [1, 1, 0]], [1.0, 2.0, 3.0]
    doubled = torch.sparse_coo_tensor(indices, values, (2, 2))
    single = torch.sparse_coo_tensor([[1, 0], [0, 1]], [3.0, 3.0], (2, 2))
    assert digest(doubled) == digest(single)


def test_state_and_modules_stand_by_their_content() -> None:
    def module() -> Any:
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Dropout(0.1))

    assert digest(module()) == digest(module())
    assert digest(module().state_dict()) == digest(module().state_dict())
    changed = module()
    with torch.no_grad():
        changed[0].bias[3] += 1
    others = [module(), changed, module().eval(), module().state_dict(), changed.state_dict(), module()[:2]]
    assert len({digest(each) for each in others}) == len(others)


def test_small_things_of_torch() -> None:
    made = [
        torch.float32,
        torch.float64,
        torch.device("cpu"),
        torch.device("cuda:0"),
        torch.Size([1]),
        (1,),
        torch.strided,
    ]
    made += [torch.Generator().manual_seed(1), torch.Generator().manual_seed(2), torch.channels_last]
    assert len({digest(each) for each in made}) == len(made)


def test_functions_for_which_gradients_are_switched_are_keyed_by_the_switch() -> None:
    switches = [torch.no_grad(), torch.enable_grad(), *map(torch.inference_mode, (True, False))]
    keys = [digest(switch) for switch in switches]
    assert len(set(keys)) == len(keys)
    with switches[0]:
        assert digest(switches[0]) == digest(torch.no_grad()) == keys[0]


def test_a_function_without_gradients_is_cached_in_either_order() -> None:
    def double(values: Any) -> Any:
        return values * 2

    above = ml_cache(torch.no_grad()(double))
    below = torch.inference_mode()(ml_cache(double))
    for function, cached in ((above, above), (below, below.__wrapped__)):
        assert torch.equal(function(tensor()), function(tensor()))
        assert cached.cache_info()[:2] == (1, 1)


def test_a_tensor_without_elements_is_refused() -> None:
    with pytest.raises(UnhashableArgumentError, match="on meta"):
        digest(torch.zeros(3, device="meta"))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_a_tensor_of_tensors_is_refused() -> None:
    nested = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])
    with pytest.raises(UnhashableArgumentError, match="cannot be read") as caught:
        digest([nested])
    assert "\n" not in str(caught.value)


def test_a_tensor_inside_a_transformed_function_is_refused() -> None:
    def keyed(tensor: Any) -> Any:
        with pytest.raises(UnhashableArgumentError, match="cannot be read"):
            digest(tensor)
        return tensor

    assert torch.vmap(keyed)(torch.ones(2, 3)).shape == (2, 3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch 2.13 advises against tracing
def test_a_tensor_that_is_traced_is_refused() -> None:
    def keyed(tensor: Any) -> Any:
        with pytest.raises(UnhashableArgumentError, match=r"torch\.jit is tracing it"):
            digest(tensor)
        return tensor + 1

    assert torch.jit.trace(keyed, tensor(), check_trace=False)(tensor()).shape == (3, 4)


def test_recurrent_modules_can_be_keyed() -> None:
    def module(seed: int) -> Any:
        torch.manual_seed(seed)
        return torch.nn.LSTM(2, 3)

    assert digest(module(0)) == digest(module(0))
    assert digest(module(0)) != digest(module(1))


@pytest.mark.parametrize("sparse", [False, True])
def test_attributes_that_are_set_on_a_tensor_count(*, sparse: bool) -> None:
    keys = set()
    for note in (None, "a", "b"):
        made = tensor().to_sparse() if sparse else tensor()
        if note:
            made.note = note
        keys.add(digest(made))
    assert len(keys) == 3


@pytest.mark.parametrize("sparse", [False, True])
def test_a_tensor_that_is_an_attribute_of_itself_has_a_key(*, sparse: bool) -> None:
    made = tensor().to_sparse() if sparse else tensor()
    made.me = made
    assert digest(made) == digest(made)
    assert digest(made) != digest(tensor().to_sparse() if sparse else tensor())
