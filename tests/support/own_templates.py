"""Adds two templates of pages that only tests have."""

import jinja2
from lookalike_search.reports.page import environment

PLAIN = """{% extends "base.html" %}{% block title %}{{ name }}{% endblock %}
{% block content %}<p title="{{ name }}">{{ name }}</p>{% endblock %}"""

SCRIPTED = """{% extends "base.html" %}{% block title %}x{% endblock %}
{% block script %}document.title = {{ name | tojson }} + (1 < 2 && "!");{% endblock %}"""


def with_own_templates() -> jinja2.BaseLoader:
    """Returns the loader of the pages' own templates with `plain.html` and `scripted.html` added."""
    own = jinja2.DictLoader({"plain.html": PLAIN, "scripted.html": SCRIPTED})
    real = environment().loader
    assert real is not None
    return jinja2.ChoiceLoader([own, real])
