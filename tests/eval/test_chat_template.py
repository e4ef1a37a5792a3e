from typing import Any

import pytest

from eval.chat_template import TODAY, dated, written
from pipeline.models.tokenizer import train_tokenizer


@pytest.mark.parametrize(("written_so", "day"), [
    ("{{ strftime_now('%Y-%m-%d') }}", "2024-07-26"),
    ('{{ "Day: " ~ strftime_now( "%d %b %Y" ) }}', "Day: 26 Jul 2024"),
    ("{% if strftime_now is defined %}{% set day = strftime_now(\"%Y\") %}{{ day }}{% endif %}", "2024"),
])
def test_a_template_that_writes_the_day_writes_the_same_on_every_day(written_so: str, day: str) -> None:
    tokenizer: Any = train_tokenizer(["a"], 64)
    tokenizer.chat_template = written_so + "{{ messages[0]['content'] }}"
    assert written(tokenizer, [[{"role": "user", "content": "a"}]], {}) == [f"{day}a"]
    assert TODAY.strftime("%Y-%m-%d") not in dated("{{ messages[0]['content'] }}")
