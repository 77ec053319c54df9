"""The names of metrics in an expression of PromQL."""
import re

WORDS = {
    'by', 'without', 'on', 'ignoring', 'group_left', 'group_right', 'and', 'or', 'unless', 'bool', 'offset', 'inf', 'nan',
}


def names(expression):
    """Identifiers that are neither functions, nor key words, nor in labels, strings, ranges or lists of labels."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    text = re.sub(r'\{[^}]*\}', ' ', text)
    text = re.sub(r'\[[^\]]*\]', ' ', text)
    text = re.sub(r'\boffset\s+\w+', ' ', text)
    text = re.sub(r'\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)', ' ', text)
    found = set()
    for match in re.finditer(r'(?<![\w:.$])([A-Za-z_:][\w:]*)(\s*\()?', text):
        if not match.group(2) and match.group(1).lower() not in WORDS:
            found.add(match.group(1))
    return found


assert names('sum without (code) (rate(a_total{x="b (c"}[5m] offset 10m)) / on (i) max by (le) (b:c) > 1e3 or vector(0)') == {'a_total', 'b:c'}
