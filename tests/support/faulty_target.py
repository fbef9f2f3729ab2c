"""A user's own target in which one method raises an error or returns a wrong value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from toy_target import Toy, ToyConditions, ToyKind

from autoresearch_mlx.experiment import Assignment, Measurement
from autoresearch_mlx.targets.contract import Place


class FaultyToy(Toy):
    """A toy target that calls ``answers[method]()`` instead of the method, if there is such an answer."""

    answers: Mapping[str, Callable[[], Any]] = {}

    def measure(self, assignment: Assignment) -> Measurement:
        return self._answer("measure", lambda: super(FaultyToy, self).measure(assignment))

    def smoke(self, assignment: Assignment) -> Measurement | None:
        return self._answer("smoke", lambda: None)

    def refuse(self, files: Mapping[str, str]) -> str | None:
        return self._answer("refuse", lambda: None)

    def lanes_refused(self) -> str | None:
        return self._answer("lanes_refused", lambda: None)

    def _answer(self, method: str, otherwise: Callable[[], Any]) -> Any:
        return self.answers.get(method, otherwise)()


def kind_with(**answers: Any) -> ToyKind:
    """Return a kind whose methods, and the methods of its target, give these answers; the other methods are the
    toy's."""

    class OfTarget(FaultyToy):
        pass

    OfTarget.answers = {name: _giving(answer) for name, answer in answers.items()}

    class Faulty(ToyKind):
        def build(self, conditions: ToyConditions, place: Place) -> Toy:
            return OfTarget(conditions, place.settings.target.metric, place.settings.target.direction)

    for name, answer in answers.items():
        if hasattr(ToyKind, name):
            is_method = callable(answer) and name != "conditions"
            setattr(Faulty, name, _method(answer) if is_method else answer)
    return Faulty()


def raising(error: BaseException) -> Callable[[], Any]:
    def answer() -> Any:
        raise error

    return answer


def _method(answer: Callable[[], Any]) -> Callable[..., Any]:
    return lambda self, *given: answer()


def _giving(answer: Any) -> Callable[[], Any]:
    return answer if callable(answer) else lambda: answer
