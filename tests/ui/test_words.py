"""Questions, plans and tables as text."""

from __future__ import annotations

import io

import pytest

from labctl.errors import UsageError
from labctl.plan.model import Plan, Step, Verb
from labctl.ui.confirm import confirm
from labctl.ui.plans import print_plan
from labctl.ui.tables import age, print_table
from tests.ui.observed import observed


@pytest.mark.parametrize("answer", ["y", "yes", " Y ", "YES"])
def test_yes(answer: str) -> None:
    confirm("remove it?", ask=lambda question: answer)


@pytest.mark.parametrize("answer", ["", "n", "no", "yess", "ye s"])
def test_everything_else_is_no(answer: str) -> None:
    with pytest.raises(UsageError, match="nothing was changed"):
        confirm("remove it?", ask=lambda question: answer)


def test_the_end_of_the_input_is_no() -> None:
    def ask(question: str) -> str:
        raise EOFError

    with pytest.raises(UsageError, match="nothing was changed"):
        confirm("remove it?", ask=ask)


def test_with_yes_nobody_is_asked() -> None:
    confirm("remove it?", yes=True, ask=lambda question: pytest.fail("asked"))


def test_without_a_terminal_it_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        confirm("remove it?", stdin=io.StringIO("y\n"))
    assert caught.value.exit_code == 2
    assert caught.value.hint == "add --yes"


def test_plan_text_and_colour() -> None:
    web = observed().nodes["web-1"]
    plan = Plan(
        "shop",
        (
            Step(Verb.START, "node/web-1", "stopped", web),
            Step(Verb.REMOVE, "node/web-1", "new image", web, destroys=True),
        ),
    )
    out = io.StringIO()
    print_plan(plan, stream=out, environ={})
    assert out.getvalue() == (
        "+ start node/web-1   stopped\n! remove node/web-1  new image\n! loses what was changed inside: node/web-1\n"
    )
    out = io.StringIO()
    print_plan(plan, stream=out, environ={"FORCE_COLOR": "1"})
    assert out.getvalue().startswith("\x1b[32m+ start node/web-1   stopped\x1b[0m\n")


def test_an_empty_plan_says_so() -> None:
    out = io.StringIO()
    print_plan(Plan("shop"), stream=out, environ={})
    assert out.getvalue() == "nothing to do\n"


def test_tables_leave_out_empty_columns_and_trailing_spaces() -> None:
    out = io.StringIO()
    print_table(("A", "B", "C"), [["1", "", "x"], [("22", "red"), "", ""]], stream=out, environ={})
    assert out.getvalue() == "A   C\n1   x\n22\n"


def test_colour_does_not_move_columns() -> None:
    out = io.StringIO()
    print_table(("A", "B"), [[("1", "red"), "x"]], stream=out, environ={"FORCE_COLOR": "1"})
    assert out.getvalue().splitlines()[1] == "\x1b[31m1\x1b[0m  x"


def test_ages() -> None:
    assert [age(seconds) for seconds in (-1, 59, 61, 7300, 200000)] == ["0s", "59s", "1m", "2h", "2d"]
