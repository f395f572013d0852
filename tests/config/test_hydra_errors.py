"""What is said of words that Hydra cannot read."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException

from unlearn.config.hydra_errors import explain_hydra_error
from unlearn.config.tree import CONF


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("forget=[1,猫]", [1, "猫"]),
        ("forget=[猫,a(b]", ["猫", "a(b"]),
        ("forget=猫", "猫"),
        ("run_dir=a(b", "a(b"),
    ],
)
def test_the_hint_quotes_what_needs_it(word: str, value: object) -> None:
    parser = OverridesParser.create()
    with pytest.raises(OverrideParseException) as caught:
        parser.parse_overrides([word])
    hint = explain_hydra_error(caught.value, [word], CONF).rpartition('quote it: "')[2]
    assert parser.parse_override(hint.removesuffix('"')).value() == value
