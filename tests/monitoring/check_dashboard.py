"""The dashboard against Grafana's own schema, as its grafana-foundation-sdk has it: what is read into the SDK's types and written
again has every key that the file has, with the same value. What the schema does not know would be left out."""
import json
import sys

import grafana_foundation_sdk.cog.plugins as plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(before, after, at):
    """Where `after` does not have what `before` has."""
    if isinstance(before, dict):
        if not isinstance(after, dict):
            return [at]
        return [one for key, value in before.items() for one in (
            lost(value, after[key], f'{at}.{key}') if key in after else [f'{at}.{key}'] if value is not None else [])]
    if isinstance(before, list):
        if not isinstance(after, list) or len(before) != len(after):
            return [at]
        return [one for place, value in enumerate(before) for one in lost(value, after[place], f'{at}[{place}]')]
    return [] if before == after else [f'{at}: {before!r} became {after!r}']


def misplaced(panels):
    """Panels with the number of another, outside of the 24 columns, or over another; those without a word about them."""
    faults, taken, seen = [], {}, set()
    for panel in panels:
        title, pos = panel['title'], panel['gridPos']
        if panel['id'] in seen or pos['x'] + pos['w'] > 24:
            faults.append(f'{title}: its id or width')
        seen.add(panel['id'])
        for cell in ((x, y) for x in range(pos['x'], pos['x'] + pos['w']) for y in range(pos['y'], pos['y'] + pos['h'])):
            if taken.setdefault(cell, title) != title:
                faults.append(f'{title} is over {taken[cell]}')
                break
        if panel['type'] != 'row' and not panel.get('description'):
            faults.append(f'{title}: no description')
    return faults


def main(file):
    plugins.register_default_plugins()
    with open(file, encoding='utf-8') as text:
        before = json.load(text)
    after = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(before)))
    faults = lost(before, after, 'dashboard')
    if faults:
        sys.exit('Grafana would not understand:\n' + '\n'.join(faults))
    if faults := misplaced(before['panels']):
        sys.exit('\n'.join(faults))
    print(f'{file}: {len(before["panels"])} panels are as Grafana\'s schema says')


main(sys.argv[1])
