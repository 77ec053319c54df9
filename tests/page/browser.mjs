// Drives a headless Chromium over a pipe with the DevTools protocol, and nothing else: no package is needed for it.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ANSWER_MS = 20_000;

export const pause = ms => new Promise(done => setTimeout(done, ms));

// Asks until the answer is true-ish; what it was asked for stands in the error.
export async function until(what, ask, ms = 15_000) {
  const deadline = Date.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`never came: ${what}`);
    await pause(50);
  }
}

export class Browser {
  static async start() {
    const folder = mkdtempSync(join(tmpdir(), 'ringpost-page-'));
    const child = spawn('chromium', [
      '--headless=new', '--remote-debugging-pipe', `--user-data-dir=${folder}`, '--no-first-run', '--disable-gpu',
      '--no-sandbox', '--hide-scrollbars', '--disable-background-networking', '--disable-component-update',
      '--disable-sync', '--no-default-browser-check', '--force-color-profile=srgb', 'about:blank',
    ], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    return new Browser(child, folder);
  }

  constructor(child, folder) {
    Object.assign(this, { child, folder, number: 0, waiting: new Map(), listeners: new Set() });
    let rest = '';
    child.stdio[4].setEncoding('utf8');
    child.stdio[4].on('data', text => {
      const messages = (rest + text).split('\0');
      rest = messages.pop();
      messages.forEach(message => this.#take(JSON.parse(message)));
    });
    child.once('exit', () => {
      for (const { fail } of this.waiting.values()) fail(new Error('the browser has ended'));
    });
  }

  #take(message) {
    const waiting = this.waiting.get(message.id);
    if (waiting) {
      this.waiting.delete(message.id);
      if (message.error) waiting.fail(new Error(`${waiting.method}: ${message.error.message}`));
      else waiting.done(message.result);
    } else {
      this.listeners.forEach(listener => listener(message));
    }
  }

  send(method, params = {}, sessionId = undefined) {
    const id = ++this.number;
    return new Promise((done, fail) => {
      const timer = setTimeout(() => fail(new Error(`${method}: no answer`)), ANSWER_MS);
      const settle = end => value => { clearTimeout(timer); end(value); };
      this.waiting.set(id, { method, done: settle(done), fail: settle(fail) });
      this.child.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + '\0');
    });
  }

  // A tab: `width` CSS pixels, `scheme` dark or light.
  async open(url, { width = 1280, height = 900, scheme = 'dark', still = false, headers = undefined } = {}) {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank', newWindow: true });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, targetId, sessionId);
    for (const domain of ['Page', 'Runtime', 'Network', 'Log']) await page.send(`${domain}.enable`);
    if (headers) await page.send('Network.setExtraHTTPHeaders', { headers });
    await page.size(width, height);
    await page.send('Emulation.setEmulatedMedia', {
      features: [{ name: 'prefers-color-scheme', value: scheme }, { name: 'prefers-reduced-motion', value: still ? 'reduce' : 'no-preference' }],
    });
    await page.send('Page.navigate', { url });
    return page;
  }

  async stop() {
    const ended = new Promise(done => this.child.once('exit', done));
    await this.send('Browser.close').catch(() => this.child.kill('SIGKILL'));
    await ended;
    // Its helpers may write for a moment longer.
    for (let tries = 0; tries < 50; tries++) {
      try { return rmSync(this.folder, { recursive: true, force: true }); } catch { await pause(100); }
    }
  }
}

export class Page {
  constructor(browser, targetId, sessionId) {
    Object.assign(this, { browser, targetId, sessionId, errors: [], requests: [] });
    this.listener = message => { if (message.sessionId === sessionId) this.#take(message); };
    browser.listeners.add(this.listener);
  }

  #take({ method, params }) {
    if (method === 'Runtime.exceptionThrown') this.errors.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    if (method === 'Runtime.consoleAPICalled' && ['error', 'warning', 'assert'].includes(params.type)) this.errors.push(params.args.map(one => one.value).join(' '));
    if (method === 'Log.entryAdded' && ['error', 'warning'].includes(params.entry.level)) this.errors.push(`${params.entry.text} ${params.entry.url ?? ''}`);
    if (method === 'Network.requestWillBeSent') this.requests.push(params.request.url);
  }

  send(method, params) { return this.browser.send(method, params, this.sessionId); }

  size(width, height) {
    this.width = width;
    return this.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 600 });
  }

  // The value of an expression, which may be a promise.
  async value(expression) {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  text(selector) { return this.value(`document.querySelector(${JSON.stringify(selector)})?.textContent`); }

  until(what, expression, ms) { return until(what, () => this.value(expression), ms); }

  async key(key, code = key) {
    for (const type of ['keyDown', 'keyUp']) await this.send('Input.dispatchKeyEvent', { type, key, code, windowsVirtualKeyCode: { Tab: 9, Enter: 13, ' ': 32, ArrowLeft: 37, Escape: 27 }[key] ?? 0, text: type === 'keyDown' && key === 'Enter' ? '\r' : undefined });
  }

  // The whole page, as tall as it is.
  async screenshot(file) {
    const { cssContentSize } = await this.send('Page.getLayoutMetrics');
    const clip = { x: 0, y: 0, width: cssContentSize.width, height: Math.min(cssContentSize.height, 12_000), scale: 1 };
    const { data } = await this.send('Page.captureScreenshot', { format: 'png', clip, captureBeyondViewport: true });
    writeFileSync(file, Buffer.from(data, 'base64'));
  }

  async close() {
    this.browser.listeners.delete(this.listener);
    await this.browser.send('Target.closeTarget', { targetId: this.targetId });
  }
}
