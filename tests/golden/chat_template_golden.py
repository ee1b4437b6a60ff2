#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes chat_template_golden.json: what real Jinja2 makes of many templates.

usage: chat_template_golden.py [OUTPUT]     (needs jinja2 >= 3.1.6)

The environment is the one transformers' apply_chat_template sets up. A case
is a template, its variables and the text it renders, or null where Jinja2
raises. Nothing here is random; the clock is fixed and the time zone UTC.
"""

import datetime
import json
import os
import pathlib
import sys
import time

import jinja2
import jinja2.ext
import jinja2.nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from chat_template_cases import CASES, REFUSED_CASES, VARIABLES
from chat_templates import CONVERSATIONS, TEMPLATES, TOOLS

NOW = 1721995200  # 2024-07-26 12:00 UTC


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("_support")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _support(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None,
           sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent,
                      separators=separators, sort_keys=sort_keys)


def strftime_now(pattern):
    now = datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc)
    return now.strftime(pattern)


def make_environment():
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True,
        extensions=[Generation, jinja2.ext.loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals.update(raise_exception=raise_exception,
                               strftime_now=strftime_now)
    return environment


def render(environment, source, variables):
    """The text, or None where Jinja2 or the Python below it raises."""
    try:
        return environment.from_string(source).render(**variables)
    except Exception:  # any error is an error
        return None


def conversation_cases(environment):
    for template_name, source in TEMPLATES.items():
        for name, messages in CONVERSATIONS.items():
            needs_tools = name.startswith("tool")
            for tools in ([None, TOOLS] if needs_tools else [None]):
                for prompt in ([True, False] if name == "multi" else [True]):
                    variables = dict(
                        messages=messages, tools=tools, documents=None,
                        add_generation_prompt=prompt, bos_token="<s>",
                        eos_token="</s>")
                    yield dict(
                        template=template_name, conversation=name,
                        tools=tools is not None, prompt=prompt,
                        want=render(environment, source, variables))


def expression_cases(environment):
    for source in CASES:
        yield [source, render(environment, source, VARIABLES)]
    for source in REFUSED_CASES:
        yield [source, None]


def main():
    os.environ["TZ"] = "UTC"
    time.tzset()
    environment = make_environment()
    golden = dict(
        now=NOW, templates=TEMPLATES, conversations=CONVERSATIONS, tools=TOOLS,
        variables=VARIABLES,
        rendered=list(conversation_cases(environment)),
        cases=list(expression_cases(environment)))
    default = pathlib.Path(__file__).with_name("chat_template_golden.json")
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    text = json.dumps(golden, ensure_ascii=False, indent=0)
    path.write_text(text + "\n", encoding="utf-8")
    errors = sum(case[1] is None for case in golden["cases"])
    print(f"{len(golden['rendered'])} conversations, {len(CASES)} cases "
          f"({errors} errors), {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
