// What the page is shown with: fixtures from a server of a few lines, or a running connector with load on it.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './browser.mjs';

const ROOT = new URL('../../', import.meta.url).pathname;
const PAGE = join(ROOT, 'src/admin/page/index.html');

// The header that the connector sends with the page: from its source, so that fixtures are shown under the same rules.
function policy() {
  const text = readFileSync(join(ROOT, 'src/admin/router.rs'), 'utf8');
  return /PAGE_POLICY: &str = "([^"]*)"/.exec(text)[1].replace(/\\\n\s*/g, '');
}

// Serves the page, and `answer(points)` as its status: an object, a number (a status code), or nothing (no answer).
export class Fixture {
  static async start(answer) {
    const fixture = new Fixture();
    Object.assign(fixture, { answer, asked: [], policy: policy() });
    fixture.server = http.createServer((request, response) => fixture.#serve(request, response));
    await new Promise(done => fixture.server.listen(0, '127.0.0.1', done));
    fixture.url = `http://127.0.0.1:${fixture.server.address().port}/`;
    return fixture;
  }

  #serve(request, response) {
    const url = new URL(request.url, this.url);
    if (url.pathname === '/') {
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': this.policy });
      return response.end(readFileSync(PAGE));
    }
    if (url.pathname !== '/manage/rest/v1/status') return response.writeHead(404).end();
    const points = Number(url.searchParams.get('history'));
    this.asked.push(points);
    const answer = this.answer(points);
    if (answer === undefined) return undefined;
    if (typeof answer === 'number') return response.writeHead(answer).end('refused');
    response.writeHead(200, { 'content-type': 'application/json' });
    return response.end(JSON.stringify({ ...answer, history: cut(answer.history, points) }));
  }

  stop() { this.server.closeAllConnections(); return new Promise(done => this.server.close(done)); }
}

// The last so many points of each array.
function cut(value, points) {
  if (Array.isArray(value)) return value.slice(-points);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, cut(part, points)]));
}

function freePort() {
  return new Promise(done => {
    const server = net.createServer();
    server.listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => done(port)); });
  });
}

// A connector whose records go to `to`: `ledger`, which is a sink of ringpost-bench, or another of `destinations`.
export class Connector {
  static async start({ manage: more = '', destinations = '', to = 'ledger' } = {}) {
    const connector = new Connector();
    const [port, manage, sink] = [await freePort(), await freePort(), await freePort()];
    Object.assign(connector, { folder: mkdtempSync(join(tmpdir(), 'ringpost-page-')), port, manage, sink, children: [], url: `http://127.0.0.1:${manage}/` });
    connector.config = join(connector.folder, 'ringpost.yml');
    writeFileSync(connector.config, `service:
  port: ${port}
  address: 127.0.0.1
  cluster-name: page-test
  manage: { port: ${manage}, address: 127.0.0.1${more} }
executors: { cores: 2, pin: false }
destinations:
  ledger:
    urls: [ "http://127.0.0.1:${sink}/records?key=planted-secret" ]
    max-connections-per-endpoint: 4
${destinations}
routing: { mode: static-multi-destination, destinations: [ ${to} ] }
format: { mode: flat-json, metadata-key: metadata }
`);
    return connector;
  }

  bench(...words) { return this.#spawn(process.env.RINGPOST_BENCH_BIN, words); }

  async run() {
    this.main = this.#spawn(process.env.RINGPOST_BIN, ['run', '-f', this.config]);
    await until('the connector answers', () => this.status(0).catch(() => false)).catch(error => { throw new Error(`${error.message}: ${this.main.said}`); });
  }

  #spawn(program, words) {
    const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    Object.assign(child, { said: '', out: '' });
    child.stdout.on('data', text => { child.out = (child.out + text).slice(-20_000); });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', text => { child.said = (child.said + text).slice(-20_000); });
    child.ended = new Promise(done => child.once('exit', code => done(code)));
    this.children.push(child);
    return child;
  }

  async status(points) {
    const answer = await fetch(`${this.url}manage/rest/v1/status?history=${points}`);
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    return answer.json();
  }

  async stop() {
    this.children.forEach(child => child.kill('SIGKILL'));
    await Promise.all(this.children.map(child => child.ended));
    rmSync(this.folder, { recursive: true, force: true });
  }
}
