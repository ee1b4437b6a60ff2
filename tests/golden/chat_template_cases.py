# SPDX-License-Identifier: Apache-2.0
"""Small templates, each for a feature or a corner of Jinja2."""

VARIABLES = {
    "s": "Hello World", "t": "  padded\t\n", "u": "Grüße 你好 \U0001f600",
    "e": "", "n": 7, "z": 0, "neg": -3, "f": 2.5, "big": 1e22, "tiny": 1e-7,
    "yes": True, "no": False, "nil": None,
    "l": [3, 1, 2], "w": ["pear", "Apple", "fig"], "empty": [],
    "d": {"b": 1, "a": {"x": [1, {"y": "deep"}]}, "items": "key", "C": None},
    "rows": [{"role": "user", "n": 2}, {"role": "system", "n": 1},
             {"role": "user", "n": 3, "extra": "<&>"}],
    "html": "<a href='x'>\"&\"</a>", "lines": "one\n  two\r\nthree\n\nfive",
}

LITERALS = """
1 | 1.0 | 1e3 | 1_000 | 1.5e-7 | 1e16 | 123456789012345678 | 0.1 + 0.2 | 1e22
100.0 * 10 | 1/3 | 2/1 | -0.0 | 3.0e15 | 12345678.9 | 5e-5 | 0.0001 | 00 | 1.e5
'a' 'b' "c" | 'it\\'s' | "\\n\\t\\x41\\u00e9\\U0001f600" | '\\q' | '\\101' | 'a\\\\b'
true | True | false | none | None | [1, 'a', 2.0, none, true] | [] | () | (1,) | (1, 2)
1, 2 | {} | {'a': 1, "b": [1, {'c': ()}]} | {1: 2, 1.5: 3, none: 4, true: 5}
['it\\'s', "say \\"x\\"", 'both \\' "', '\\n\\x00\\u200b\\u00e9'] | [undefined_name] | {'a':{}}.a
{(1, 2): 3}[(1, 2)] | {[1]: 2} | [1,2,] | {'a':1,} | (1,2,) | [,] | {'k': 1}['k']
""".replace("\n1, 2", " | 1, 2")

OPERATORS = """
1 + 2 * 3 | (1 + 2) * 3 | 7 // 2 | -7 // 2 | 7 % 3 | -7 % 3 | 7 % -3 | 7 / 2 | 2 ** 10
2 ** 3 ** 2 | -2 ** 2 | 2 ** -1 | 7.5 // 2 | -7.5 % 2 | 7.5 % -2 | 1 / 0 | 1 // 0 | 1 % 0 | 1.0 / 0
0 ** -1 | 10 - 3 - 2 | 2 - -2 | +5 | --5 | -n | +f | 1 + 1.5 | true + 1 | true + true | 3 * 'ab' | 'ab' * 0
[1] * 3 | (1, 2) * 2 | [1] + [2] | (1,) + (2,) | 'a' + 'b' | 'a' + 1 | 1 + 'a' | [1] + (2,) | none + 1
'a' ~ 1 ~ none ~ 2.0 ~ [1] | 1 ~ 2 + 3 | 'a' ~ 'b' * 2 | 'x' ~ nope | -'a' | +'a' | -none | not 1
1 < 2 | 1 < 2 < 3 | 1 < 3 < 2 | 3 > 2 >= 2 | 1 == 1.0 | 1 == true | '1' == 1 | none == none | [1] == [1.0]
{'a': 1} == {'a': 1.0} | (1,) == [1] | 'a' < 'b' | 'Z' < 'a' | [1, 2] < [1, 3] | [1] < [1, 0] | 1 < 'a'
none < 1 | 1 != 2 | nope == nope2 | nope == none | nope < 1 | 'é' > 'z' | 2 ** 0.5 | 7 != 7.0 | 1 <= 1 <= 0
1 in [1, 2] | 'a' in 'cat' | 'x' not in 'cat' | 'a' in {'a': 1} | 1 in 'a' | 1 in 5 | 1 in none | 'a' in nope
'' in '' | 2 not in (1, 3) | 1.0 in [1] | none in [none] | not true in [false] | not (1 in [2]) | 3 in range(5)
true and 'x' | 0 or 'x' | '' or none | 1 and 0 or 2 | not none | not '' and 1 | nope or 'd' | nope and 1
'y' if true else 'n' | 'y' if false else 'n' | 'y' if false | 1 if 0 else 2 if 0 else 3 | ('a' if n > 5) ~ '!'
n is odd and n > 3 | 1 + 2 ~ 3 * 4 | 1 - 1 ~ 'a' | 2 * 3 % 4 | 8 // 3 * 2 | -n ** 2 | -n|abs | (-n)|abs | not n == 7
'%s is %d' % ('a', 5) | '%5.2f|%-5s|%05d|%x|%%' % (3.14159, 'ab', 42, 255) | '%s' % n | '%s' % [1] | '%d' % 'a'
'%s %s' % 'a' | '%s' % ('a', 'b') | '%r' % 'a' | '%e' % 12345.678 | '%g' % 0.0001 | '%+d' % 5 | '%.3s' % 'abcdef'
9223372036854775807 | 4611686018427387904 + 1 | 1000000007 * 1000000009 | 5 % 3.0 | 2 ** 62 | 1e308 * 10
1.0 == 1 | 0.1 + 0.7 | 1e15 + 0.5 | 7 // 2.0 | -1 // 3 | 3 // -2.0 | 0.0 ** 0 | (1, 'a') < (1, 'b') | 5 // 0.0
"""

SUBSCRIPTS = """
l[0] | l[-1] | l[5] | l[-4] | l[5].x | s[0] | s[-1] | s[99] | u[6] | u[-1] | d['b'] | d.b | d['zz'] | d.zz | d.zz.y
d.a.x[1].y | d['a']['x'][1]['y'] | d['items'] | d.a['x'].0 | l.0 | l.1 + 1 | nope.x | nope['x'] | none.x | none['x']
n.x | l.x | s.x | l['a'] | l[1:] | l[:2] | l[::-1] | l[::2] | l[-2:] | l[5:] | l[:-1] | l[1:1] | s[1:4] | s[::-1] | s[:-6]
s[-5:] | u[6:8] | u[::-1] | s[::3] | s[10:2:-2] | l[none:2] | l[::0] | l['a':] | (1,2,3)[1:] | {}['a':] | 'abc'[true]
l[1.0] | s[0:100] | s[-100:3] | l[2:0:-1] | l[100:-100:-1] | rows[0].role | rows[0]['role'] | rows[1:][0].n | rows[-1].extra
d.get('b') | d.get('q') | d.get('q', 5) | d.keys() | d.values() | d.get('a').get('x') | d.keys()|list | d.items()|list
{'a': 1}.items() | {'a': 1}.keys() | {'a': 1}.values() | (1, 1, 2).count(1) | [1, 2].index(2) | [1].index(5) | {}.get([])
l.append(1) | d.update({}) | l.pop() | d.pop('b') | l.sort() | d.clear() | d.setdefault('a')
d.copy() | l.copy() | l[nope] | l[nil] | d[nil] | d[nope] | nope[0] | l[0][0] | l[0].a.b | range(3)[1] | range(3)[7]
"""

FILTERS = """
s|upper | s|lower | s|title | 'hELLO wORLD-foo (bar)'|title | 'hello WORLD'|capitalize | t|trim | 'xxaxx'|trim('x') | n|trim
u|upper | 'straße'|upper | 'ÀÉ'|lower | u|length | l|length | d|length | e|length | nope|length | n|length | rows|count | none|length
l|join | l|join(', ') | w|join('-') | rows|join(',', attribute='n') | 'abc'|join('.') | nope|join(',') | [1, none, 'a']|join('|') | 5|join
l|first | l|last | s|first | s|last | empty|first | empty|last | e|first | d|first | nope|first | (1,2)|last | l|first|string
s|list | d|list | l|list | range(3)|list | nope|list | 5|list | n|string | nil|string | l|string | f|string | yes|string
'42'|int | '42.9'|int | 'x'|int | 'x'|int(7) | 'x'|int(default=3) | ' 12 '|int | 42.9|int | -42.9|int | true|int | none|int | '1_000'|int | '+5'|int | ''|int
'1.5'|float | 'x'|float | 'x'|float(2.5) | 3|float | '1e3'|float | 'inf'|float | 'nan'|float | '-inf'|float | '1e400'|float | nope|int | nope|float | []|int
nope|default('d') | nope|d('d') | e|default('d') | e|default('d', true) | none|default('d') | none|default('d', true) | nope|default | d.zz|default('q') | 0|default(5, boolean=true)
l|tojson | d|tojson | rows|tojson | s|tojson | u|tojson | u|tojson(ensure_ascii=true) | none|tojson | true|tojson | 1.0|tojson | 1e22|tojson | html|tojson | '\\n\\t\\x01\\x7f\\\\'|tojson
d|tojson(indent=2) | []|tojson(indent=2) | {}|tojson(indent=4) | [[], {}, [1]]|tojson(indent=1) | l|tojson(indent=0) | d|tojson(sort_keys=true) | l|tojson(separators=(',', ':')) | {'a': 1, 'b': 2}|tojson(separators=(',', ':'))
{1: 2, none: 3, true: 4, 1.5: 5}|tojson | (1, 2)|tojson | nope|tojson | {(1,): 2}|tojson | [nope]|tojson | range(3)|tojson | 'nan'|float|tojson | {'z': 1, 'y': 2}|tojson(indent='--') | rows|tojson(4)
d|items|list | {'a': 1}|items|list | nope|items|list | d|dictsort|length | {'b': 1, 'A': 2}|dictsort | {'b': 1, 'A': 2}|dictsort(true) | {'b': 1, 'a': 2}|dictsort(by='value') | {'b': 1, 'a': 2}|dictsort(reverse=true) | {'a': 1}|dictsort(by='x')
w|map('upper')|list | w|map('length')|list | rows|map(attribute='role')|list | rows|map(attribute='extra')|list | rows|map(attribute='extra', default='-')|list | [[1, 2], [3]]|map('join', '+')|list | w|map('nope')|list | w|map|list | rows|map(attribute='role')|join(',') | [d]|map(attribute='a.x.1.y')|list | [[1, 2]]|map(attribute=1)|list
l|select('odd')|list | l|reject('odd')|list | [0, 1, '', 'a', none]|select|list | [0, 1, '']|reject|list | rows|selectattr('role', 'equalto', 'user')|list | rows|selectattr('role', '==', 'user')|map(attribute='n')|list | rows|rejectattr('role', 'eq', 'user')|list | rows|selectattr('extra')|list | rows|selectattr('extra', 'defined')|list | rows|selectattr('n', 'gt', 1)|list | rows|selectattr('role', 'in', ['system'])|list | l|select('nope')|list | rows|selectattr('extra', 'undefined')|list|length | w|select('string')|list | l|select('divisibleby', 3)|list | l|select('>', 1)|sum
s|replace('l', 'L') | s|replace('l', 'L', 1) | 'aaa'|replace('', '-') | 'ab'|replace('', '-', 2) | n|replace('7', '8') | s|replace('World', '') | s|replace('o', 0)
l|sort | l|sort(reverse=true) | w|sort | w|sort(case_sensitive=true) | rows|sort(attribute='n')|map(attribute='n')|list | [1, 'a']|sort | rows|sort | [3, 1.5, true]|sort | 'hello'|sort | ['b', 'B', 'a']|sort | [['b', 2], ['a', 1]]|sort | [none, 1]|sort
[1, 2, 1, 3]|unique|list | ['a', 'A', 'b']|unique|list | ['a', 'A']|unique(true)|list | rows|unique(attribute='role')|list | [[1]]|unique|list | l|reverse|list | s|reverse | empty|reverse|list | 5|reverse
n|abs | neg|abs | -2.5|abs | 'a'|abs | 2.5|round | 3.5|round | 2.567|round(2) | 2.5|round(0, 'ceil') | 2.5|round(method='floor') | 5|round | 2.345|round(2) | 1234.5|round(-2) | 0.5|round | -0.5|round | 2.675|round(2) | 1e20|round(2) | 'a'|round | 2.4|round|int | 7|round(1, 'ceil') | 2.1|round(1, 'bad')
l|sum | [1, 2.5]|sum | []|sum | rows|sum(attribute='n') | l|sum(start=10) | ['a']|sum | [[1], [2]]|sum(start=[]) | l|min | l|max | w|min | w|max | empty|min | rows|max(attribute='n') | w|max(case_sensitive=true) | [1, 'a']|max | 'hello'|max
lines|indent | lines|indent(2) | lines|indent(2, true) | lines|indent(2, true, true) | lines|indent(first=true) | lines|indent('> ') | ''|indent | 'a'|indent(first=true) | 'a\\n'|indent(2) | '\\n'|indent(2, blank=true) | 'a\\n\\n'|indent(1)
html|safe | html|e | html|escape | html|escape|escape | html|safe|escape | (html|safe) + '<' | '<' + (html|e) | html|e ~ '<' | 5|e | html|e|upper | html|e|trim | [html|e]|join('<') | [1,2,3,4,5]|batch(2)|list | [1,2,3]|batch(2, 0)|list | 'a b  c-d'|wordcount | '%s-%s'|format(1, 'a') | '%.1f'|format(2.25) | 'ab'|center(6) | 'ab'|center(7)
s|nope | s|upper|lower|title | s|upper() | s|upper(1) | s|replace('a') | s|join(nope=1) | l|sort(nope=true) | (l|map('string')|list)[0] | l|first + 1 | 'a'|upper ~ 'b'|upper | -1|abs | 'a'|d('b')|upper | n|d is odd
"""

TESTS = """
nope is defined | s is defined | nil is defined | nope is undefined | s is undefined | nil is none | n is none | nope is none | d.zz is defined | d.a.q is defined | nope.x is defined | d['b'] is defined
s is string | n is string | n is number | f is number | yes is number | s is number | n is integer | f is integer | yes is integer | f is float | n is float | yes is boolean | n is boolean | 0 is false | no is false | yes is true | 1 is true
d is mapping | l is mapping | l is sequence | s is sequence | d is sequence | n is sequence | nil is sequence | nope is sequence | (1,) is sequence | range(2) is sequence | l is iterable | s is iterable | n is iterable | nil is iterable | nope is iterable | d is iterable | nope is mapping
n is odd | n is even | f is odd | 4 is even | n is divisibleby 7 | n is divisibleby(2) | n is divisibleby 0 | s is odd | n is equalto 7 | n is eq 7 | n is ne 7 | n is lt 8 | n is gt 8 | n is le 7 | n is ge 8 | n is sameas 7 | nil is sameas none | yes is sameas true | 1 is sameas true | l is sameas l
'a' is in 'cat' | 1 is in [1] | 1 is in(2, 3) | 1 is not in [2] | n is not none | nope is not defined | not nope is defined | s is not string | range is callable | s is callable | s.upper is callable | nope is callable | s is upper | 'ABC' is upper | 'abc' is lower | '1' is lower | s is nope | n is lessthan 9 | n is greaterthan 9 | s is filter | 'upper' is filter | 'odd' is test | (html|e) is escaped | s is escaped
n is defined and n is odd | n is odd if yes else 0 | (n is odd) == true | n is eq 7 or nope | not n is even | n is divisibleby 7 and 'y' | n is sameas 7 is odd | [1] is eq [1] | n is lt n + 1 | n is eq 3 + 4 | s is eq('Hello World') | s is eq 'Hello World' | n is odd(1) | n is divisibleby | d is eq {} | n is test | '' is string
"""

METHODS = """
t.strip() | t.lstrip() | t.rstrip() | 'xxaxx'.strip('x') | 'abcba'.lstrip('ab') | 'abcba'.rstrip('ab') | t.strip(none) | '\\u3000x\\u00a0'.strip() | 'éaé'.strip('é') | s.strip(1)
'a b  c'.split() | 'a,b,,c'.split(',') | 'a,b,c'.split(',', 1) | 'a,b,c'.split(',', maxsplit=1) | ''.split() | ''.split(',') | ' a  b '.split(' ') | 'a b c d'.split(none, 2) | ' a  b  c '.split(maxsplit=1) | 'abc'.split('') | 'a<x>b'.split('<x>')[-1] | 'a b'.split(sep=' ')
'a,b,c'.rsplit(',', 1) | ' a  b  c '.rsplit(none, 1) | 'a,b'.rsplit(',') | 'aaa'.rsplit('aa', 1) | 'aaa'.split('aa', 1) | 'x'.rsplit(',', 3) | ' a b '.rsplit() | 'a b c'.rsplit(none, 0) | ' a b '.split(none, 0) | lines.splitlines() | lines.splitlines(true) | ''.splitlines() | 'a\\n\\nb\\n'.splitlines() | 'a\\x0bb\\x1cc\\u2028d'.splitlines()
s.startswith('Hell') | s.startswith(('x', 'H')) | s.endswith('ld') | s.endswith(('a', 'd')) | s.startswith('') | s.startswith(1) | s.startswith(()) | s.startswith(['H'])
s.upper() | s.lower() | 'hello world'.title() | "it's a dog's".title() | 'hELLO'.capitalize() | ''.capitalize() | 'éa'.capitalize() | '1a b2c'.title() | s.replace('l', 'L') | s.replace('l', 'L', 2) | s.replace('', '.') | s.replace('zz', 'y') | 'aaa'.replace('aa', 'b') | 'a'.replace('a', 1)
','.join(w) | ','.join('abc') | ','.join([1]) | ''.join([]) | ', '.join(d) | '-'.join(w|map('upper')) | s.find('o') | s.find('zz') | s.find('o', 5) | u.find('你') | s.rfind('o') | s.index('W') | s.index('zz') | s.count('l') | s.count('') | 'aaaa'.count('aa') | s.find('') | s.find('', 99) | s.count('o', 5, 8) | s.find('l', -3) | ''.count('')
'abc'.removeprefix('a') | 'abc'.removeprefix('x') | 'abc'.removesuffix('bc') | '12'.isdigit() | '1a'.isdigit() | ''.isdigit() | 'ab'.isalpha() | 'a1'.isalnum() | ' '.isspace() | 'A1'.isupper() | 'a1'.islower() | '1'.islower() | 'a=b=c'.partition('=') | 'a=b=c'.rpartition('=') | 'abc'.partition('=') | 'abc'.rpartition('=') | 'a'.partition('')
'ab'.ljust(4) ~ '|' | 'ab'.rjust(4) | 'ab'.center(5) | 'ab'.center(6, '*') | 'abc'.center(6, '*') | 'ab'.rjust(4, '0') | 'ab'.ljust(1) | 'a'.rjust(3, 'xy') | s.nope() | s.upper(1) | s.__len__() | l.upper() | n.upper() | nope.upper() | none.strip() | s.upper().lower().title()[0:3] | ('a' ~ s).upper() | s.split(' ')[0].lower() | (s.split())[1] | s['upper']() | s.split()|join('_') | s.split() + w
namespace(a=1).a | namespace(a=1).b | namespace({'a': 2}).a | dict(a=1, b=2) | dict([('a', 1)]) | dict({'a': 1}, b=3) | dict(**{'a': 1}) | range(5)|list | range(2, 5)|list | range(5, 0, -2)|list | range(0)|list | range(3) | range(1, 9, 2) | range(0, 5, 0) | range('a') | range(100001)|length | range() | range(2.0) | raise_exception('no') | raise_exception() | strftime_now('%Y-%m-%d') | strftime_now('%d %b %Y') | strftime_now('%H:%M:%S %A %B %j %%') | strftime_now('%-d') | nope() | n() | nope.x() | s() | namespace(1)
"""


def each(text):
    for line in text.strip("\n").split("\n"):
        for expression in line.split(" | "):
            if expression.strip():
                yield "{{ " + expression.strip() + " }}"


STATEMENTS = [
    # Text and white space.
    "", "plain", "plain\n", "plain\n\n", "a\r\nb\rc\n", "{", "{ {", "}}", "%}",
    "{{ 'a' }}\n", "{{ 'a' }}\nb", "a {{- 'b' -}} c", "a\n  {{- 'b' -}}\n c",
    "{% if 1 %}\nx\n{% endif %}\ny", "  {% if 1 %}\n  x\n  {% endif %}\n  y",
    "a  {% if 1 %} b {% endif %} c", "a\n\t {% if 1 %}b{% endif %}\n\nc",
    "a\n  {%+ if 1 %}b{%+ endif %}", "{% if 1 +%}\nb{% endif +%}\nc",
    "a \n {%- if 1 -%} \n b \n {%- endif -%} \n c", "  {# x #}\ny", "a {# x #} b",
    "a {#- x -#} b", "a\n {#- x #}\nb", "a {# x +#}\nb", "{#- -#}", "{#-#}", "{##}a",
    "{# {{ x }} {% if %} #}b", "  {{ 1 }}\n  {{ 2 }}\n", "\n\n{% set x = 1 %}\n\n{{ x }}\n",
    "{% raw %}{{ x }}{% endraw %}", "{% raw %}\n a {% if %} \n{% endraw %}\nb",
    "a {%- raw -%} \n b \n {%- endraw -%} c", " {% raw %} x {% endraw %} y",
    "{% raw %}{% raw %}{% endraw %}", "{% raw -%}  a{% endraw +%}\nb",
    "\u00a0{%- if 1 %}x{% endif -%}\u3000y", "x{% if 1 %}  {% endif %}y",
    "{{ '}}' }}", "{{ {'a': {'b': 1}}}}", "{{ '{%' }}", "{%- set a='%}' -%}{{ a }}", "{{'a'}}{{'b'}}",
    "{{\n1\n+\n2\n}}", "{% set\nx\n=\n1\n%}{{ x }}", "{{- 1 -}}  \n {{- 2 -}}", "{{+ 1 }}", "{{ 1 +}}",
    "  {%- if 0 %}\n{%- else %}\n  no\n{%- endif %}\n",
    # if.
    "{% if n > 5 %}big{% elif n %}small{% else %}zero{% endif %}",
    "{% if z %}a{% elif 0 %}b{% elif 1 %}c{% else %}d{% endif %}", "{% if nope %}a{% endif %}b",
    "{% if nope.x %}a{% endif %}", "{% if empty %}a{% else %}b{% endif %}", "{% if 1: %}a{% endif %}",
    "{% if l %}{% if s %}both{% endif %}{% endif %}", "{% if x is defined %}a{% endif %}",
    "{% if 0.0 %}a{% else %}b{% endif %}", "{% if () %}a{% else %}b{% endif %}", "{% if 'a', %}t{% endif %}",
    # for.
    "{% for i in l %}{{ i }},{% endfor %}", "{% for i in empty %}{{ i }}{% else %}none{% endfor %}",
    "{% for i in nope %}x{% else %}e{% endfor %}", "{% for i in nil %}x{% endfor %}", "{% for i in 5 %}x{% endfor %}",
    "{% for c in u %}[{{ c }}]{% endfor %}", "{% for k in d %}{{ k }} {% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k, v in d|dictsort %}{{ k }}{% endfor %}",
    "{% for a, b in [(1, 2), [3, 4], 'xy'] %}{{ a }}{{ b }} {% endfor %}", "{% for a, b in [(1,)] %}{% endfor %}",
    "{% for a, b in [1] %}{% endfor %}", "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for (a, b) in [(1, 2)] %}{{ a }}{{ b }}{% endfor %}", "{% for a, in [(1,)] %}{{ a }}{% endfor %}",
    "{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}",
    "{% for i in l %}{{ loop.previtem|default('-') }}{{ i }}{{ loop.nextitem|default('-') }} {% endfor %}",
    "{% for i in l %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for i in l %}{{ loop.cycle() }}{% endfor %}",
    "{% for i in l %}{% for j in l %}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}{% endfor %}", "{{ loop }}", "{{ loop.index }}",
    "{% for i in l %}{{ loop.nope }}.{% endfor %}", "{% for i in l %}{{ loop.nope.x }}{% endfor %}",
    "{% for i in l if i > 1 %}{{ loop.index }}/{{ loop.length }}:{{ i }} {% endfor %}",
    "{% for i in l if i > 9 %}x{% else %}nothing{% endfor %}", "{% for r in rows if r.role == 'user' and r.n %}{{ r.n }}{% endfor %}",
    "{% for i in 1, 2, 3 %}{{ i }}{% endfor %}", "{% for i in range(3) %}{{ i }}{% endfor %}", "{% for i in l[1:] %}{{ i }}{% endfor %}",
    "{% for i in l %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in l %}{% if i == 1 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{% break %}", "{% if 1 %}{% continue %}{% endif %}",
    "{% for i in l %}{% break %}{% else %}E{% endfor %}", "{% for i in l %}{% continue %}{% else %}E{% endfor %}",
    "{% for i in l %}{% if loop.index > 1 %}{% break %}{% endif %}x{% else %}E{% endfor %}",
    "{% for i in l %}{% for j in l %}{% if j == 1 %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{% endfor %}",
    "{% for i in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}", "{% for i in l %}{{ i }}{% endfor %}{{ i }}",
    "{% for i in (l if yes else w) %}{{ i }}{% endfor %}", "{% for i in l|sort %}{{ i }}{% endfor %}", 
    "{% for loop in l %}{% endfor %}", "{% for i in l %}{{ loop.index }}{% for j in w %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}",
    "{% for i in l %}{% set outer = loop %}{% for j in w %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}",
    "{% set x = l|select('odd') %}{% for i in x %}{{ i }}{% endfor %}|{% for i in x %}{{ i }}{% endfor %}",
    "{% for x in rows|selectattr('role', 'equalto', 'user') %}{{ loop.index }}{{ x.n }}{{ loop.last }}{% endfor %}",
    # set and scopes.
    "{% set x = 1 %}{{ x }}", "{% set x = 1 %}{% set x = x + 1 %}{{ x }}", "{% set x, y = 1, 2 %}{{ x }}{{ y }}",
    "{% set x, y = [1] %}", "{% set x = 1, 2 %}{{ x }}", "{% set x %}a{{ n }}{% endset %}[{{ x }}]", "{% set x | upper %}abc{% endset %}{{ x }}",
    "{% set x | replace('a', 'b') | upper %}aa{% endset %}{{ x }}", "{% set x = 1 %}{% for i in l %}{% set x = i %}{% endfor %}{{ x }}",
    "{% set x = 1 %}{% for i in l %}{{ x }}{% set x = i %}{{ x }} {% endfor %}{{ x }}", "{% if 1 %}{% set x = 5 %}{% endif %}{{ x }}",
    "{% set ns = namespace(x=0) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}", "{% set ns = namespace() %}{% set ns.a = 1 %}{{ ns.a }}{{ ns.b }}|{{ ns.b is defined }}",
    "{% set ns = namespace(l=[]) %}{% for i in l %}{% set ns.l = ns.l + [i * 2] %}{% endfor %}{{ ns.l }}", "{% set d.x = 1 %}", "{% set nope.x = 1 %}",
    "{% set ns = namespace() %}{% set ns.x %}block{% endset %}{{ ns.x }}", "{% set ns = namespace(a=1) %}{{ ns['a'] }}", "{% set true = 1 %}", "{% set None = 1 %}",
    "{% set n = 1 %}{{ n }}", "{% for n in l %}{{ n }}{% endfor %}{{ n }}", "{% set x = x|default(3) %}{{ x }}", "{% set _ = 5 %}{{ _ }}", "{% set _x = 5 %}{{ _x }}",
    "{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}", "{% with a = 1, b = a %}{{ b }}{% endwith %}",
    "{% generation %}{% set g = 1 %}g{{ n }}{% endgeneration %}{{ g }}", "{%- generation -%} a {%- endgeneration -%} b", "{% for i in l %}{% generation %}{{ loop.index }}{{ i }}{% endgeneration %}{% endfor %}",
    "{% filter upper %}abc{{ s }}{% endfilter %}", "{% filter replace('a', 'b')|upper %}aa{% endfilter %}", "{% filter nope %}{% endfilter %}", "{% set a = [] %}{% set b = a + [1] %}{{ a }}{{ b }}",
    # Macros.
    "{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(b=4, a=5) }}", "{% macro m(a) %}[{{ a }}]{% endmacro %}{{ m() }}",
    "{% macro m() %}x{% endmacro %}{{ m(1) }}", "{% macro m() %}x{% endmacro %}{{ m(q=1) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, k=3) }}", "{% macro m(a, b=a) %}{{ b }}{% endmacro %}{{ m(4) }}", "{{ m() }}{% macro m() %}{% endmacro %}",
    "{% macro f(x) %}{% if x > 0 %}{{ x }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(5) }}", "{% macro m() %}{{ n }}{% set n = 3 %}{{ n }}{% endmacro %}{{ m() }}{{ n }}",
    "{% macro m() %}{{ q }}{% endmacro %}{% set q = 1 %}{{ m() }}", "{% for i in l %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% macro m() %}({{ caller() }}){% endmacro %}{% call m() %}in{{ n }}{% endcall %}", "{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) m() %}{{ a }}+{{ b }}{% endcall %}",
    "{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}", "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}", "{% macro m() %} a {% endmacro %}[{{ m()|trim }}]", "{% macro m() -%}\n a \n{%- endmacro %}[{{ m() }}]",
    "{% macro m(*a) %}{% endmacro %}", "{% macro m(a=1, b) %}{% endmacro %}", "{% macro m(l) %}{% for x in l %}{{ loop.index }}{{ x }}{% endfor %}{% endmacro %}{{ m(l) }}{{ m('ab') }}", "{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}",
    "{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(*[1, 2]) }}{{ m(**{'b': 4, 'a': 3}) }}{{ m(1, *[2]) }}", "{% set m = 3 %}{{ m() }}", "{% macro m() %}{{ loop }}{% endmacro %}{% for i in l %}{{ m() }}{% endfor %}",
    # Errors of syntax, and unknown things.
    "{{", "{{ 1", "{% if", "{% if 1 %}", "{% for i in l %}", "{% endif %}", "{% else %}", "{{ }}", "{% %}", "{{ 1 + }}", "{{ (1 }}", "{{ 1) }}", "{{ [1 }}", "{{ 'a }}", "{{ a b }}", "{{ 1 2 }}", "{% nope %}", "{% if 1 %}{% endfor %}", "{# a",
    "{% raw %}a", "{{ x | }}", "{{ x is }}", "{{ x. }}", "{{ .x }}", "{{ x[ }}", "{{ x[] }}", "{{ f(a=1, 2) }}", "{{ f(**a, **b) }}", "{% set 1 = 2 %}", "{% set x %}", "{% for in l %}{% endfor %}", "{% for i of l %}{% endfor %}", "{% if %}{% endif %}",
    "{% elif 1 %}", "{% if 1 %}{% else %}{% else %}{% endif %}", "{% if 1 %}{% else %}{% elif 2 %}{% endif %}", "{{ a ? b }}", "{{ a ! b }}", "{{ $ }}", "{{ a = 1 }}", "{{ a := 1 }}", "{{ not }}", "{{ if }}", "{{ 1 if }}", "{% include 'x' %}", "{% extends 'x' %}", "{% import 'x' as y %}", "{% from 'x' import y %}", "{% do x %}",
    "{{ a and }}", "{{ * }}", "{{ {1} }}", "{{ {1:} }}", "{{ {'a' 1} }}", "{% endfor %}", "{% set x = %}", "{% macro %}{% endmacro %}", "{% call x %}{% endcall %}", "{{ x.1.y }}", "{{ 1.x }}", "{{ l.0.0 }}", "{{ 'a' if }}", "{% set x = 1 %}{{ x }}{% endset %}", "{{ 1;2 }}", "{{ \\ }}",
]

# What Jinja2 renders and this engine refuses by name: integers beyond 64 bits,
# texts that hold an address, names with underscores, and the rarest features.
REFUSED = """
99999999999999999999 | 2 ** 64 | d.items | s.upper | d.__class__ | ''.__class__ | d._x | l|map('int') | rows|selectattr('n')
5|items | html|forceescape | html|striptags | 'a,b'|urlencode | lipsum() | 'x'.format() | 0x1F | '\\N{DIGIT ONE}' | 'ff'|int(base=16) | cycler(1) | s.encode() | n.real | l[0, 1]
"""

REFUSED_CASES = [*each(REFUSED), "{% for i in l recursive %}{% endfor %}x",
                 "{% if 0 %}{{ 1|nope }}{% endif %}", "{{ self }}",
                 "{% autoescape true %}{% endautoescape %}",
                 "{% block b %}{% endblock %}"]

CASES = ([case for text in (LITERALS, OPERATORS, SUBSCRIPTS, FILTERS, TESTS,
                            METHODS) for case in each(text)] + STATEMENTS)
