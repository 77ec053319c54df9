"""A real Prometheus scrapes a connector that has load: what it then knows is what happened, every expression of the dashboard, of
our rules and of Aerospike's gives data, and the alerts that have to fire do. scripts/test-monitoring sets it up and runs it.

Bounded by its deadlines; whatever it started is ended with it."""
import ctypes
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from promql import names

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / 'examples/monitoring'
CLUSTER = 'monitoring-test'
RECORDS, RATE = 6_000, 600
# One request of so many is refused for good by `picky`.
PICKY = 25
WAIT = 30

# Names that an expression may have and this load does not make. docs/metrics.md has to have them.
OTHER_CONDITIONS = set()

# What fires with this load, in our rules and in Aerospike's.
FIRING = {'RingpostRecordsGivenUp', 'RingpostCertificateExpires', 'AerospikeConnectorErrors'}
# What fires or not, as the machine and the source's clock have it.
MAYBE = {'RingpostExecutorStalled', 'RingpostLag', 'RingpostLagGrows', 'RingpostSlow', 'RingpostNearItsRoom', 'AerospikeConnectorLag',
         'AerospikeConnectorJvmProcessCPU', 'AerospikeConnectorJvmSystemCPU'}

# What promtool has to say of our names: those of the official connector, and days, which people read more easily than seconds.
LINTS = ('aerospike_esp_outbound_', 'ringpost_certificate_expiry_days use base unit "seconds"')

children = []


def spawn(words, **more):
    """A child that does not outlive this process."""
    die_with_parent = ctypes.CDLL(None).prctl
    child = subprocess.Popen(words, preexec_fn=lambda: die_with_parent(1, signal.SIGKILL), **more)
    children.append(child)
    return child


def free_port():
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]


def until(what, is_so):
    deadline = time.monotonic() + WAIT
    while True:
        try:
            seen = is_so()
        except OSError as error:
            seen = error
        if seen is True:
            return
        if time.monotonic() > deadline:
            sys.exit(f'not within {WAIT} s: {what}: {seen}')
        time.sleep(0.2)


class Sink(ThreadingHTTPServer):
    """Counts what it is sent; `refuses`: one request of so many is answered 400, 0 for none. Probes (GET) are answered 200."""
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, refuses):
        self.refuses, self.lock, self.counts = refuses, threading.Lock(), {200: 0, 400: 0}
        super().__init__(('127.0.0.1', 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.port = self.server_address[1]

    def take(self):
        with self.lock:
            number = sum(self.counts.values()) + 1
            status = 400 if self.refuses and number % self.refuses == 0 else 200
            self.counts[status] += 1
            return status


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        self.answer(self.server.take())

    def do_GET(self):
        self.answer(200)

    def answer(self, status):
        self.wfile.write(f'HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n'.encode())

    def log_message(self, *_):
        pass


class Prometheus:
    def __init__(self, folder, target):
        self.port = free_port()
        self.url = f'http://127.0.0.1:{self.port}'
        self.instance = target
        rules = (MONITORING / 'ringpost-rules.yml').read_text()
        # The test has no minutes to wait.
        (folder / 'ringpost-rules.yml').write_text(re.sub(r'(?m)^( +for:) .*$', r'\1 1s', rules))
        official = json.loads((ROOT / 'tests/monitoring/official.json').read_text())
        alerts = [{'alert': name, 'expr': expr, 'for': '1s'} for name, expr in official['alerts'].items()]
        # JSON is YAML.
        (folder / 'official.yml').write_text(json.dumps({'groups': [{'name': 'official', 'rules': alerts}]}))
        (folder / 'prometheus.yml').write_text(json.dumps({
            'global': {'scrape_interval': '1s', 'evaluation_interval': '1s'},
            'rule_files': ['ringpost-rules.yml', 'official.yml'],
            'scrape_configs': [{'job_name': 'aerospike_connect', 'metrics_path': '/manage/rest/v1/prometheus',
                                'static_configs': [{'targets': [target]}]}],
        }))
        self.started = time.time()
        self.log = (folder / 'prometheus.log').open('w')
        self.process = spawn(['prometheus', f'--config.file={folder}/prometheus.yml', f'--storage.tsdb.path={folder}/data',
                              f'--web.listen-address=127.0.0.1:{self.port}', '--log.level=warn'],
                             stdout=self.log, stderr=subprocess.STDOUT)

    def ask(self, path, **words):
        url = f'{self.url}/api/v1/{path}?{urllib.parse.urlencode(words)}'
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)['data']
        except urllib.error.HTTPError as error:
            sys.exit(f'Prometheus refuses {words or path}: {error.read().decode()}')

    def value(self, expr):
        """The value of an expression that gives one."""
        found = self.ask('query', query=expr)['result']
        return float(found[0]['value'][1]) if len(found) == 1 else f'{len(found)} series'

    def has_data(self, expr):
        """Whether it gave a number at some time of this run."""
        found = self.ask('query_range', query=expr, start=self.started, end=time.time(), step='1s')['result']
        return any(value != 'NaN' for one in found for _, value in one['values'])

    def names(self):
        return set(self.ask('label/__name__/values'))

    def firing(self):
        return {one['labels']['alertname'] for one in self.ask('alerts')['alerts'] if one['state'] == 'firing'}


class Connector:
    def __init__(self, folder, binary, good, picky):
        self.port, self.manage = free_port(), free_port()
        run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '10', '-subj', '/CN=localhost',
             '-keyout', folder / 'own.key', '-out', folder / 'own.pem'])
        (folder / 'pass').write_text('unused\n')
        (folder / 'ringpost.yml').write_text(f'''service:
  port: {self.port}
  address: 127.0.0.1
  cluster-name: {CLUSTER}
  manage: {{ port: {self.manage}, address: 127.0.0.1 }}
  tls: {{ port: {free_port()}, address: 127.0.0.1, key-store: {{ store-file: own.pem, private-key-file: own.key, store-password-file: pass }} }}
executors: {{ cores: 2, pin: false }}
destinations:
  good: {{ urls: "http://127.0.0.1:{good}/", protocol: HTTP_1_1, max-connections-per-endpoint: 8, health-check: {{ interval-seconds: 1 }} }}
  picky: {{ urls: "http://127.0.0.1:{picky}/", protocol: HTTP_1_1, max-connections-per-endpoint: 8, health-check: {{ interval-seconds: 1 }}, permanent-status-codes: [ 400 ] }}
routing: {{ mode: static-multi-destination, destinations: [ good, picky ] }}
format: {{ mode: flat-json, metadata-key: metadata }}
''')
        self.process = spawn([binary, 'run', '-f', 'ringpost.yml'], cwd=folder, stdout=(folder / 'ringpost.log').open('w'),
                             stderr=subprocess.STDOUT)

    def page(self, path):
        with urllib.request.urlopen(f'http://127.0.0.1:{self.manage}{path}', timeout=10) as answer:
            return answer.read()


def run(words, **more):
    done = subprocess.run(words, capture_output=True, text=True, timeout=WAIT, **more)
    if done.returncode:
        sys.exit(f'{words[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}')
    return done.stdout


def check_page(page):
    """promtool's lints."""
    done = subprocess.run(['promtool', 'check', 'metrics'], input=page, capture_output=True, timeout=WAIT)
    said = (done.stdout + done.stderr).decode().splitlines()
    faults = [line for line in said if not line.startswith(LINTS)]
    assert done.returncode in (0, 3) and not faults, f'promtool check metrics: {faults}'


def check_counts(prometheus, report, good, picky):
    """What Prometheus scraped, after all is quiet, is what source and sinks counted."""
    codes = {int(code): count for code, count in report['acks_by_code'].items()}
    assert codes.get(10, 0) > RECORDS * 0.01 and codes.get(0, 0) > RECORDS * 0.5, codes
    official, mine = 'aerospike_esp_outbound_', f'{{cluster_name="{CLUSTER}"}}'
    expected = {'up{job="aerospike_connect"}': 1, f'ringpost_ready{mine}': 1, f'ringpost_healthy{mine}': 1,
                f'ringpost_records_total{mine}': RECORDS + report['records_resent'],
                f'{official}requests{{status="success"}}': codes.get(0, 0),
                f'{official}requests{{status="error"}}': codes.get(10, 0) + codes.get(11, 0) + codes.get(18, 0),
                f'{official}requests_total_count': sum(codes.values()),
                f'sum({official}connections)': 4, 'sum(ringpost_executor_in_flight)': 0,
                'ringpost_certificate_expiry_days{place="service.tls"}': 9}
    for code in (0, 10, 11, 18):
        expected[f'ringpost_acks_total{{code="{code}"}}'] = codes.get(code, 0)
    for name, sink in (('good', good), ('picky', picky)):
        for status, answered in (('success', 200), ('error', 400)):
            expected[f'{official}destination_requests{{destination="{name}",status="{status}"}}'] = sink.counts[answered]
        expected[f'ringpost_response_seconds_count{{destination="{name}"}}'] = sum(sink.counts.values())
    def wrong():
        return {expr: (value, expect) for expr, expect in expected.items() if (value := prometheus.value(expr)) != expect}
    until('series are what was counted', lambda: wrong() or True)
    return codes


def check_status(connector, codes):
    """The status page shows the share that the alert is about: of a minute, in which all of the load was. It is looked at once a second."""
    share = codes[10] / sum(codes.values())
    def shown():
        return json.loads(connector.page('/manage/rest/v1/status?history=0'))['totals']['permanent_share_1m']
    until(f'the status page says {share}', lambda: abs((said := shown()) - share) < 1e-9 or said)


def panels(dashboard):
    for panel in dashboard['panels']:
        for target in panel.get('targets', []):
            yield f'{panel["title"]} {target["refId"]}', target['expr']


def check_expressions(prometheus):
    known = prometheus.names()
    documented = set(re.findall(r'(?m)^\| `([a-z_A-Z0-9]+)', (ROOT / 'docs/metrics.md').read_text()))
    assert OTHER_CONDITIONS <= documented, OTHER_CONDITIONS - documented
    dashboard = json.loads((MONITORING / 'grafana-dashboard.json').read_text())
    official = json.loads((ROOT / 'tests/monitoring/official.json').read_text())
    faults, count = [], 0
    expressions = [(f'dashboard: {where}', expr, True) for where, expr in panels(dashboard)]
    starts = [(one['name'], one['expr'], False) for one in dashboard['annotations']['list'] if 'expr' in one]
    expressions += starts + [(f'official: {where}', expr, True) for where, expr in official['panels'].items()]
    groups = prometheus.ask('rules')['groups']
    for rule in (rule for group in groups for rule in group['rules']):
        assert rule['health'] == 'ok', rule
        # An alert gives data only when it fires.
        expressions.append((f'rule: {rule["name"]}', rule['query'], rule['type'] == 'recording'))
    for where, expr, has_data in expressions:
        count += 1
        plain = expr.replace('$__rate_interval', '10s').replace('$cluster', CLUSTER).replace('$instance', prometheus.instance)
        unknown = names(plain) - known - OTHER_CONDITIONS
        if unknown:
            faults.append(f'{where}: there is no {", ".join(sorted(unknown))}')
        elif has_data and not prometheus.has_data(plain):
            faults.append(f'{where}: no data: {plain}')
        elif not has_data:
            prometheus.ask('query', query=plain)
    for where, expr in official['never'].items():
        if prometheus.ask('query', query=expr)['result']:
            faults.append(f'{where} is said to have no data')
    variables = [(one['name'], *re.fullmatch(r'label_values\((.*), (\w+)\)', one['query']['query']).groups())
                 for one in dashboard['templating']['list'] if one['type'] == 'query']
    variables += [(one['name'], one['metric'], one['label']) for one in official['variables']]
    for name, metric, label in variables:
        found = {one.get(label) for one in prometheus.ask('series', **{'match[]': metric.replace('$cluster', CLUSTER)})}
        if found != {CLUSTER if label == 'cluster_name' else prometheus.instance}:
            faults.append(f'variable {name} gives {found}')
    assert not faults, '\n'.join(faults)
    return count


def check_alerts(prometheus):
    until('alerts fire', lambda: FIRING <= prometheus.firing() or prometheus.firing())
    unexpected = prometheus.firing() - FIRING - MAYBE
    assert not unexpected, f'fires and should not: {unexpected}'


def unit_tested():
    """Each alert has a unit test in which it fires, and one in which it does not."""
    alerts = set(re.findall(r'- alert: (\w+)', (MONITORING / 'ringpost-rules.yml').read_text()))
    tests = (ROOT / 'tests/monitoring/rules_test.yml').read_text()
    fires = set(re.findall(r"'ALERTS\{alertname=\"(\w+)\"", tests))
    asked = re.findall(r'- expr: ALERTS\{alertname="(\w+)".*\n +eval_time: \S+\n(?! +exp_samples)', tests + '\n')
    assert alerts == fires, f'no unit test fires {alerts - fires}'
    assert alerts <= set(asked), f'no unit test is quiet for {alerts - set(asked)}'
    return len(alerts)


def main(binary, bench):
    run(['promtool', 'check', 'rules', MONITORING / 'ringpost-rules.yml'])
    run(['promtool', 'check', 'config', MONITORING / 'prometheus.yml'])
    run(['promtool', 'test', 'rules', ROOT / 'tests/monitoring/rules_test.yml'])
    print(f'{unit_tested()} alerts fire and are quiet in their unit tests')
    folder = Path(tempfile.mkdtemp(prefix='ringpost-monitoring-'))
    try:
        good, picky = Sink(0), Sink(PICKY)
        connector = Connector(folder, binary, good.port, picky.port)
        prometheus = Prometheus(folder, f'127.0.0.1:{connector.manage}')
        until('Prometheus scrapes the connector', lambda: prometheus.value('up') == 1 or (folder / 'ringpost.log').read_text()[-500:])
        report = json.loads(run([bench, 'source', '--addr', f'127.0.0.1:{connector.port}', '--connections', '4', '--records', str(RECORDS),
                                 '--rate', str(RATE), '--json']))
        check_alerts(prometheus)
        codes = check_counts(prometheus, report, good, picky)
        print(f'Prometheus has what was counted: acks {codes}, good {good.counts}, picky {picky.counts}')
        check_page(connector.page('/metrics'))
        check_status(connector, codes)
        print(f'{check_expressions(prometheus)} expressions of panels and rules have data and known names')
        connector.process.kill()
        until('the connector is down', lambda: {'RingpostDown', 'AerospikeConnectorsDown'} <= prometheus.firing() or prometheus.firing())
        print('alerts fire as they should, RingpostDown when it was killed')
    finally:
        for child in children:
            child.kill()
            child.wait()
        shutil.rmtree(folder, ignore_errors=True)


# The end by a signal, too, ends what was started.
signal.signal(signal.SIGTERM, lambda *_: sys.exit('ended by a signal'))
main(*sys.argv[1:])
