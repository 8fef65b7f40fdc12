"""Which pages may do what: against a model that tries all rules, and S3's own example."""

import re
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impl.api.s3.cors import METHODS, actual, check_rules, preflight
from impl.api.s3.errors import BadRequest, CorsForbidden, InvalidRequest, MalformedXML, S3Error
from impl.api.s3.shapes import CorsRule

PATTERNS = st.sampled_from(["*", "http://*", "http://a.b", "http://*.b", "*.b", "http://a*a.b", "http://A.b", "null"])
ORIGINS = st.sampled_from(["http://a.b", "http://.b", "http://c.a.b", "http://aa.b", "https://a.b", "null", "http://a"])
HEADER_PATTERNS = st.sampled_from(["*", "x-amz-*", "Authorization", "x-amz-date", "*-md5"])
NAMES = st.sampled_from(["x-amz-date", "X-Amz-Acl", "authorization", "content-md5", "range"])
METHOD = st.sampled_from(METHODS)
RULES = st.lists(
    st.builds(
        CorsRule,
        allowed_origins=st.lists(PATTERNS, min_size=1, max_size=2).map(tuple),
        allowed_methods=st.lists(METHOD, min_size=1, max_size=2, unique=True).map(tuple),
        allowed_headers=st.lists(HEADER_PATTERNS, max_size=2).map(tuple),
        expose_headers=st.lists(st.sampled_from(["etag", "x-amz-request-id"]), max_size=2).map(tuple),
        max_age_s=st.none() | st.integers(0, 9999),
    ),
    max_size=4,
)


def first_match(rules: list[CorsRule], origin: str, method: str, names: list[str]) -> CorsRule | None:
    for rule in rules:
        is_origin = any(fnmatchcase(origin, pattern) for pattern in rule.allowed_origins)
        patterns = [pattern.lower() for pattern in rule.allowed_headers]
        are_headers = all(any(fnmatchcase(name.lower(), pattern) for pattern in patterns) for name in names)
        if is_origin and method in rule.allowed_methods and are_headers:
            return rule
    return None


@given(RULES, ORIGINS, METHOD, st.lists(NAMES, max_size=3))
def test_a_preflight_is_answered_by_the_first_rule_that_lets_it(
    rules: list[CorsRule], origin: str, method: str, names: list[str]
) -> None:
    check_rules(rules)
    rule = first_match(rules, origin, method, names)
    try:
        answer = dict(preflight(rules, origin, method, ", ".join(names)))
    except CorsForbidden:
        assert rule is None
        return
    assert rule is not None
    assert answer["access-control-allow-methods"] == ", ".join(rule.allowed_methods)
    assert answer.get("access-control-max-age") == (None if rule.max_age_s is None else str(rule.max_age_s))
    assert answer.get("access-control-expose-headers", "") == ", ".join(rule.expose_headers)
    assert answer.get("access-control-allow-headers", "") == ", ".join(name.lower() for name in names)
    assert answer["access-control-allow-origin"] in (origin, "*")
    # a browser refuses an answer that has both
    assert (answer["access-control-allow-origin"] == "*") != ("access-control-allow-credentials" in answer)


@given(RULES, ORIGINS, METHOD)
def test_a_request_is_answered_as_its_preflight_was(rules: list[CorsRule], origin: str, method: str) -> None:
    answer = actual(rules, origin, method)
    if first_match(rules, origin, method, []):
        assert answer == preflight(rules, origin, method, None)
    else:
        assert not any(name.startswith("access-control-") for name, _ in answer)


ANY_HEADER = CorsRule(("*",), ("GET",), ("*",))


@given(st.text("ab,\r\n\0: é", max_size=9))
def test_no_header_of_a_preflight_can_add_a_line_to_the_answer(names: str) -> None:
    try:
        answer = preflight([ANY_HEADER], "http://a.b", "GET", names)
    except CorsForbidden:
        return
    assert not any(re.search(r"[^ -~]", value) for _, value in answer)


def test_names_of_headers_are_the_same_in_any_case() -> None:
    rule = CorsRule(("*",), ("GET",), ("Authorization", "X-Amz-*"))
    answer = preflight([rule], "http://a.b", "GET", "AUTHORIZATION,x-amz-DATE")
    assert ("access-control-allow-headers", "authorization, x-amz-date") in answer


EXAMPLE = [
    CorsRule(("http://www.example1.com",), ("PUT", "POST", "DELETE"), ("*",)),
    CorsRule(("http://*.example2.com",), ("PUT",), ("x-amz-*",), ("x-amz-request-id",), 3000),
    CorsRule(("*",), ("GET",)),
]


def test_the_answers_to_the_example_of_s3s_manual() -> None:
    vary = ("vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
    assert actual(EXAMPLE, "http://anything.org", "GET") == (
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET"),
        vary,
    )
    assert preflight(EXAMPLE, "http://x.example2.com", "PUT", "X-Amz-Date") == (
        ("access-control-allow-origin", "http://x.example2.com"),
        ("access-control-allow-methods", "PUT"),
        ("access-control-expose-headers", "x-amz-request-id"),
        ("access-control-max-age", "3000"),
        ("access-control-allow-credentials", "true"),
        vary,
        ("access-control-allow-headers", "x-amz-date"),
    )


def test_a_request_without_origin_and_a_bucket_without_rules_get_nothing() -> None:
    assert actual(EXAMPLE, None, "GET") == ()
    assert actual([], "http://a.b", "GET") == ()


def test_an_answer_that_depends_on_the_origin_says_so_even_if_it_is_no() -> None:
    assert actual(EXAMPLE[:1], "http://elsewhere.com", "PUT") == (
        ("vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"),
    )


@pytest.mark.parametrize(
    "origin, method, error",
    [
        (None, "GET", BadRequest),
        ("http://a.b", None, BadRequest),
        ("http://a.b", "PATCH", BadRequest),
        ("http://a.b", "PUT", CorsForbidden),
    ],
)
def test_a_preflight_that_is_none_is_refused(origin: str | None, method: str | None, error: type[S3Error]) -> None:
    with pytest.raises(error):
        preflight(EXAMPLE, origin, method, None)
    with pytest.raises((BadRequest, CorsForbidden)):
        preflight([], origin, method, None)


@pytest.mark.parametrize(
    "rule, error",
    [
        (CorsRule((), ("GET",)), MalformedXML),
        (CorsRule(("*",), ()), MalformedXML),
        (CorsRule(("*",), ("PATCH",)), InvalidRequest),
        (CorsRule(("*",), ("get",)), InvalidRequest),
        (CorsRule(("http://*.*",), ("GET",)), InvalidRequest),
        (CorsRule(("*",), ("GET",), ("x-*-*",)), InvalidRequest),
        (CorsRule(("*",), ("GET",), (), ("x-*",)), InvalidRequest),
        (CorsRule(("*",), ("GET",), (), ("a\r\nb",)), InvalidRequest),
        (CorsRule(("*",), ("GET",), id="i" * 256), InvalidRequest),
    ],
)
def test_rules_that_s3_would_not_keep_are_refused(rule: CorsRule, error: type[S3Error]) -> None:
    with pytest.raises(error):
        check_rules([EXAMPLE[0], rule])
