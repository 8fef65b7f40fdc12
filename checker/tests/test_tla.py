"""What explanations read: TLA+ source as far as it goes, values as TLC prints them, shapes that give them meaning."""

from pathlib import Path

import pytest

from checker import manifest as manifests
from checker import tla_source as source
from checker.errors import CannotCheck
from checker.tla_value import Function, Set, Text, parse, parse_shape, show

SPECS = Path(__file__).parents[2] / "spec"
MODULE = """---- MODULE Sample ----
EXTENDS Integers,
        Other
(* A comment with x == 1 in it, (* nested *) and done. *)
VARIABLES one,   \\* the first
          two
VARIABLE three
Plain == one + 1
Act(a, b) ==
    /\\ a \\in {1, 2}   \\* why
    /\\ \\A x \\in b :
          x > one
    /\\ "a /\\\\ b" = two \\/ a = 3
    /\\ one' = a
    /\\ UNCHANGED <<two, three>>
Same(e) == /\\ Plain = e
           /\\ Act(F(e, 1), {e})
Nested ==
    /\\ \\/ one = 1
       \\/ /\\ one = 2
          /\\ two = 2
    /\\ three = 3
====
"""


def read(folder: Path) -> source.Source:
    (folder / "Sample.tla").write_text(MODULE)
    (folder / "Other.tla").write_text("---- MODULE Other ----\nVARIABLE four\nElsewhere == TRUE\n====\n")
    return source.read(folder, "Sample")


def test_variables_and_definitions_are_found_in_all_modules_that_extend_each_other(tmp_path: Path) -> None:
    sample = read(tmp_path)
    assert sample.variables == ("one", "two", "three", "four")
    assert set(sample.definitions) == {"Plain", "Act", "Same", "Nested", "Elsewhere"}
    assert sample.definitions["Act"].parameters == ("a", "b")


def test_a_flat_list_is_taken_apart_into_the_texts_of_its_conjuncts(tmp_path: Path) -> None:
    definitions = read(tmp_path).definitions
    assert definitions["Act"].conjuncts == (
        "a \\in {1, 2}",
        "\\A x \\in b : x > one",
        '"a /\\\\ b" = two \\/ a = 3',
        "one' = a",
        "UNCHANGED <<two, three>>",
    )
    assert definitions["Same"].conjuncts == ("Plain = e", "Act(F(e, 1), {e})")
    assert definitions["Nested"].conjuncts == ("\\/ one = 1 \\/ /\\ one = 2 /\\ two = 2", "three = 3")
    assert definitions["Plain"].conjuncts == ()
    assert [name for name, each in definitions.items() if each.is_action] == ["Act"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a = b", ("a", "=", "b")),
        ("f[x].y >= Max(a, b)", ("f[x].y", ">=", "Max(a, b)")),
        ("a \\notin DOMAIN f", ("a", "\\notin", "DOMAIN f")),
        ("(a = b)", None),
        ("a = b /\\ c", None),
        ("a => b = c", None),
        ("~a = b", None),
        ("\\A x \\in S : x = 1", None),
        ("a = [b EXCEPT ![c] = d]", ("a", "=", "[b EXCEPT ![c] = d]")),
        ("a = b = c", None),
        ('a = "x = y"', ("a", "=", '"x = y"')),
        ("F(a, b)", None),
    ],
)
def test_a_comparison_is_one_and_nothing_else(text: str, parts: tuple[str, str, str] | None) -> None:
    assert source.comparison(text) == parts


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("F(a, G(b, {c, d}))", ("F", ["a", "G(b, {c, d})"])),
        ("F(a) = G(b)", None),
        ("F(a) + (b)", None),
        ("F", None),
        ("F(<<a, b>>, c)", ("F", ["<<a, b>>", "c"])),
    ],
)
def test_a_call_is_one_application_and_nothing_else(text: str, call: tuple[str, list[str]] | None) -> None:
    assert source.call(text) == call


@pytest.mark.parametrize("manifest_file", sorted(SPECS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_action_that_replays_is_a_flat_list_with_its_guards_before_its_primes(manifest_file: Path) -> None:
    manifest = manifests.read(manifest_file)
    read = source.read(manifest.modules, manifest.trace_module)
    for kind in manifest.kinds.values():
        waiting = [kind.replay]
        while waiting:
            definition = read.definitions[waiting.pop()]
            assert definition.conjuncts, f"{definition.name} is no flat list of conjuncts"
            primed = [source.has_prime(text) for text in definition.conjuncts]
            assert primed == sorted(primed), f"{definition.name} has a guard after a prime"
            calls = [call[0] for call in map(source.call, definition.conjuncts) if call is not None]
            waiting += [name for name in calls if name in read.definitions and read.definitions[name].is_action]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-3", -3),
        ("TRUE", True),
        ('"a b"', Text("a b")),
        ("{1, {}}", Set((1, Set(())))),
        ("1..3", Set((1, 2, 3))),
        ("<<1, FALSE>>", Function(((1, 1), (2, False)))),
        ("[a |-> 1, b |-> <<>>]", Function(((Text("a"), 1), (Text("b"), Function(()))))),
        ("(4 :> 1 @@ 5 :> {2})", Function(((4, 1), (5, Set((2,)))))),
        ("model_value", Text("model_value")),
        ("<<1, ", Text("<<1, ")),
    ],
)
def test_values_are_read_as_tlc_prints_them(text: str, value: object) -> None:
    assert parse(text) == value


def test_numbers_are_shown_as_what_their_shape_says_they_stand_for() -> None:
    named = {"visit": "(who: guest, rooms: {room})"}
    shape = parse_shape("[room -> <visit>]", named)
    value = parse("(7 :> <<[who |-> 1, rooms |-> {2, 3}]>> @@ 8 :> <<>>)")
    assert show(value, shape, lambda domain, number: f"{domain}{number}") == (
        "(room7: <(who: guest1, rooms: {room2, room3})>, room8: <>)"
    )


@pytest.mark.parametrize("text", ["", "{a", "[a b]", "(a, b)", "a b", "[a -> ]"])
def test_a_shape_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(CannotCheck, match="the shape"):
        parse_shape(text, {})
