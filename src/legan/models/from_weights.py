"""Networks from weights files. A config in a file is not believed: its shapes are held against the tensors before anything is built."""

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_buffer_registration_hook, register_module_parameter_registration_hook

from legan.core.config import config_to_dict, dict_to_config
from legan.core.errors import ConfigError, WeightsError

ConfigT = TypeVar("ConfigT")
NetworkT = TypeVar("NetworkT", bound=nn.Module)
_MAX_NUMBER = 4096  # in a config, where no tensor is longer: sides of images, numbers of layers
# What building a network of senseless sizes raises.
_SENSELESS = (RuntimeError, ValueError, TypeError, ArithmeticError, LookupError, AssertionError, MemoryError, ConfigError)


class _TooLargeError(Exception):
    """A network has more than its tensors."""


def network_of_config(
    make: Callable[[ConfigT], NetworkT], kind: type[ConfigT], values: Any, tensors: Mapping[str, Tensor], path: Path
) -> NetworkT:
    """Return the network that a weights file's config describes, with the file's tensors, in evaluation mode.

    Arguments and errors as for `checked_config`.
    """
    return fill(make(checked_config(make, kind, values, tensors, path)), tensors, path)


def checked_config(
    make: Callable[[ConfigT], nn.Module], kind: type[ConfigT], values: Any, tensors: Mapping[str, Tensor], path: Path
) -> ConfigT:
    """Return the config in a weights file, once the network that it describes is known to have the file's tensors.

    Args:
        make: builds the network of a config, such as its class.
        kind: type of the config.
        values: the config as the file's metadata has it.
        tensors: of this network, by the names that they have in it.
        path: the file, for messages.

    Raises:
        WeightsError: a config of another form, or tensors of other names or shapes than it asks for. Neither takes more time or
            memory than the tensors themselves.
    """
    try:
        config = dict_to_config(kind, values)
    except ConfigError as error:
        raise WeightsError(f"the config in {path} cannot be used ({error}): export the weights again") from error
    try:
        _check_numbers(config, tensors)
        with torch.device("meta"), _no_larger_than(tensors), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layers of no channels, which do not fit anyway
            skeleton = make(config)
        _check_shapes(skeleton, tensors)
    except _TooLargeError:
        raise _unfit(path, "it asks for more than there is") from None
    except _SENSELESS as error:
        raise _unfit(path, error) from error
    return config


def fill(network: NetworkT, tensors: Mapping[str, Tensor], path: Path) -> NetworkT:
    """Return `network` with tensors of its own names, in evaluation mode.

    Raises:
        WeightsError: they do not fit.
    """
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise _unfit(path, error) from error
    return network.eval()


def _unfit(path: Path, reason: object) -> WeightsError:
    words = " ".join(str(reason).split())[:200]
    return WeightsError(f"the tensors of {path} do not fit its config ({words}): export the weights again")


def _check_numbers(config: Any, tensors: Mapping[str, Tensor]) -> None:
    """Numbers far beyond the tensors' are refused before a loop counts to them."""
    most = max([_MAX_NUMBER, *(side for tensor in tensors.values() if tensor.numel() for side in tensor.shape)])

    def check(value: Any, name: str) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                check(inner, key)
        elif isinstance(value, list):
            for inner in value:
                check(inner, name)
        elif isinstance(value, int) and abs(value) > most:
            raise _TooLargeError

    check(config_to_dict(config), "")


@contextmanager
def _no_larger_than(tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Stop this thread's building of a network at the first parameter or buffer beyond the tensors' number and size.

    Buffers that are computed are not among the tensors: a square image more is let through.
    """
    n_numbers, thread = sum(tensor.numel() for tensor in tensors.values()), threading.get_ident()

    def counter(n_tensors: int, n_numbers: int) -> Callable[[nn.Module, str, Tensor | None], None]:
        left = {"tensors": n_tensors, "numbers": n_numbers}

        def count(module: nn.Module, name: str, tensor: Tensor | None) -> None:
            if tensor is None or threading.get_ident() != thread:
                return
            left["tensors"] -= 1
            left["numbers"] -= tensor.numel()
            if min(left.values()) < 0:
                raise _TooLargeError

        return count

    hooks = [
        register_module_parameter_registration_hook(counter(len(tensors), n_numbers)),
        register_module_buffer_registration_hook(counter(len(tensors) + 1, n_numbers + _MAX_NUMBER**2)),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _check_shapes(skeleton: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in skeleton.state_dict().items()}
    for name in [*wanted, *tensors]:
        found = tuple(tensors[name].shape) if name in tensors else "missing"
        if found != wanted.get(name):
            raise ValueError(f"{name} is {found} and should be {wanted.get(name, 'left out')}")
