"""Anyone's image classifier as a meter: an ONNX file, and what has to be said of it to use it rightly."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr, model_validator

from million_ird.config import Config
from million_ird.errors import ConfigError
from million_ird.meters.files import pinned

if TYPE_CHECKING:
    from million_ird.meters import Frame

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxFile(Config):
    """A model that takes one picture and gives one number; its column has the name it stands under in
    `measure.onnx`."""

    path: str
    """The .onnx file."""
    sha256: str | None = None
    """Of that file; null = taken when a build begins. Another file is refused: its numbers would not compare."""
    size: int | tuple[int, int] = 224
    """What it takes, px: a square's side, or height and width."""
    fit: Literal["stretch", "crop"] = "stretch"
    """The whole picture, its shape changed; or the middle of it, cut after its shorter side fits."""
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    """Taken from each channel, on the scale 0..1; one number stands for all three."""
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    """What each channel is divided by then; 0.00392157 (1/255) gives 0..255."""
    channels: Literal["rgb", "bgr"] = "rgb"
    """Their order."""
    layout: Literal["nchw", "nhwc"] = "nchw"
    """Order of the input's axes."""
    output: str | None = None
    """Name of the output to take; null = the first."""
    index: int = Field(default=0, ge=0)
    """Which of its numbers, for example that of the class."""
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    """What is still to be done to the output; softmax goes over all its numbers."""
    help: str = "output of a third-party model"
    """Unit, range and direction, in words, for the report and the dataset card."""

    @model_validator(mode="after")
    def _fits(self) -> OnnxFile:
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, 3):
                raise ValueError(f"{name} takes one number or three")
        if 0 in self.std:
            raise ValueError("std must not be 0")
        if min(self.shape) < 1:
            raise ValueError("size must be at least 1 px")
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the input, px."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


class OnnxMeter(Config):
    """The meter of an `OnnxFile`.

    The file is opened when the first picture is measured, or by `open`; one thread.
    """

    name: str
    """Its column, and its name in `measure.onnx`."""
    file: OnnxFile
    """What it runs."""
    _session: Any = PrivateAttr(default=None)

    @property
    def columns(self) -> Mapping[str, str]:
        """Its one column."""
        return {self.name: self.file.help}

    def __call__(self, frame: Frame) -> tuple[float | None]:
        """The model's number; None where it is not finite.

        Raises:
            ConfigError: as `open`, at the first picture.
        """
        session = self.open()
        shape = self.file.shape
        rgb = frame.rgb if self.file.channels == "rgb" else frame.rgb[:, :, ::-1]
        picture = _fitted(np.ascontiguousarray(rgb), shape, self.file.fit).astype(np.float32) / np.float32(255)
        picture = (picture - np.array(self.file.mean, np.float32)) / np.array(self.file.std, np.float32)
        if self.file.layout == "nchw":
            picture = picture.transpose(2, 0, 1)
        given = session.get_inputs()[0]
        batch = np.ascontiguousarray(picture[None], _TYPES[given.type])
        value = float(self._number(session.run([self._output(session)], {given.name: batch})[0]))
        return (value if np.isfinite(value) else None,)

    def open(self) -> Any:
        """The session, checked by a grey picture.

        Raises:
            ConfigError: the file is missing or another one, or does not take or give what
                is said of it; the message names the key.
        """
        if self._session is None:
            session = _session(self.file.path, self.file.sha256, f"measure.onnx.{self.name}")
            self._check(session)
            self._session = session
        return self._session

    def _check(self, session: Any) -> None:
        where, inputs = f"measure.onnx.{self.name}", session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in _TYPES:
            found = ", ".join(f"{one.name}: {one.type} {one.shape}" for one in inputs)
            raise ConfigError(
                f"{where}.path: {self.file.path} takes {found}; a meter needs one picture, 4 axes, float or float16"
            )
        height, width = self.file.shape
        asked = [1, 3, height, width] if self.file.layout == "nchw" else [1, height, width, 3]
        taken = inputs[0].shape
        if any(isinstance(one, int) and one != want for one, want in zip(taken, asked, strict=True)):
            raise ConfigError(
                f"{where}.size: {self.file.path} takes {taken}, size and layout give it {asked}; set size or layout"
            )
        batch = np.full(asked, 0.5, _TYPES[inputs[0].type])
        try:
            given = session.run([self._output(session)], {inputs[0].name: batch})[0]
        except _failures() as error:
            raise ConfigError(f"{where}.size: {self.file.path} does not run on {asked}: {_line(error)}") from None
        if not np.issubdtype(np.asarray(given).dtype, np.number) or np.size(given) <= self.file.index:
            raise ConfigError(
                f"{where}.index: {self.file.index}, but output '{self._output(session)}' of {self.file.path} gives "
                f"{np.size(given)} numbers"
            )

    def _output(self, session: Any) -> str:
        known = [one.name for one in session.get_outputs()]
        if self.file.output not in (None, *known):
            raise ConfigError(
                f"measure.onnx.{self.name}.output: {self.file.path} has no output '{self.file.output}'; "
                f"it has {', '.join(known)}"
            )
        return self.file.output or known[0]

    def _number(self, given: Any) -> np.float64:
        numbers = np.asarray(given, np.float64).ravel()
        if self.file.activation == "softmax":
            numbers = np.exp(numbers - numbers.max())
            numbers = numbers / numbers.sum()
        value = numbers[self.file.index]
        return 1 / (1 + np.exp(-np.clip(value, -700, 700))) if self.file.activation == "sigmoid" else value


def with_hash(name: str, file: OnnxFile) -> OnnxFile:
    """The same, checked to run, with its path absolute and its hash known.

    Raises:
        ConfigError: as `OnnxMeter.open`.
    """
    OnnxMeter(name=name, file=file).open()
    path, sha256 = pinned(file.path, file.sha256, f"measure.onnx.{name}")
    return file.model_copy(update={"path": path, "sha256": sha256})


def _fitted(rgb: NDArray[np.uint8], shape: tuple[int, int], fit: str) -> NDArray[Any]:
    """(height, width, 3), by area means where it shrinks, else bilinear."""
    height, width = rgb.shape[:2]
    if fit == "crop":
        scale = max(shape[0] / height, shape[1] / width)
        tall, wide = min(height, round(shape[0] / scale)), min(width, round(shape[1] / scale))
        tall, wide = max(1, tall), max(1, wide)
        top, left = (height - tall) // 2, (width - wide) // 2
        rgb = rgb[top : top + tall, left : left + wide]
    shrinks = rgb.shape[0] * rgb.shape[1] > shape[0] * shape[1]
    return cv2.resize(rgb, shape[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _session(path: str, sha256: str | None, where: str) -> Any:
    file, _ = pinned(path, sha256, where)
    try:
        return _on_one_thread(Path(file))
    except _failures() as error:
        raise ConfigError(f"{where}.path: {path} is no ONNX model that onnxruntime runs: {_line(error)}") from None


def network(meter: str, path: Path, remedy: str, takes: str, gives: Mapping[str, int | None]) -> Any:
    """A file that this project's training wrote, as a session on one thread.

    Args:
        meter: whose it is, for the messages.
        path: of the file.
        remedy: what to give instead.
        takes: its input.
        gives: its outputs; of a vector, how long it is.

    Raises:
        ConfigError: no such file, or one that holds no such network.
    """
    where = f"measure.options.{meter}.model: {path}"
    if not path.is_file():
        raise ConfigError(f"{where} does not exist; {remedy}")
    try:
        made = _on_one_thread(path)
    except _failures() as error:
        raise ConfigError(f"{where} is no ONNX network ({_line(error)}); {remedy}") from None
    inputs, outputs = [one.name for one in made.get_inputs()], {one.name: one.shape for one in made.get_outputs()}
    other = any(length is not None and outputs.get(name) != [length] for name, length in gives.items())
    if inputs != [takes] or list(outputs) != list(gives) or other:
        raise ConfigError(f"{where} takes {inputs} and gives {list(outputs)}; {remedy}")
    return made


def _on_one_thread(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _failures() -> tuple[type[Exception], ...]:
    """What onnxruntime raises about a model: its own exceptions have no common base but Exception."""
    state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    own = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, ValueError)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
