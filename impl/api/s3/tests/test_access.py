"""The table of permissions names only actions that policies can name, of the kind of thing that they are done to."""

import pytest

from impl.api.s3.access import ACTIONS, OF_ANY_KEY, OF_EACH, Place
from impl.api.s3.actions import ON_BUCKETS, ON_OBJECTS, action_on


@pytest.mark.parametrize("place", sorted(ACTIONS), ids="-".join)
def test_an_operation_needs_an_action_that_policies_know(place: Place) -> None:
    action, about = ACTIONS[place], place[1]
    if action in (OF_EACH, OF_ANY_KEY):
        assert about in ("service", "bucket")
    else:
        is_form = place == ("POST", "bucket", "")
        assert action in (ON_OBJECTS if about == "object" or is_form else ON_BUCKETS)


@pytest.mark.parametrize("action", sorted(set(ACTIONS.values()) & ON_OBJECTS))
def test_what_names_a_version_needs_the_versions_own_action_if_there_is_one(action: str) -> None:
    of_version = action.replace("Object", "ObjectVersion")
    assert action_on(action, None) == action
    assert action_on(action, "null") == (of_version if of_version in ON_OBJECTS else action)
