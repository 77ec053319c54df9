// The status page in a real browser: what it shows is what the status says, whoever looks at it with whatever screen.
// scripts/test-page sets it up and runs it.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { Browser, pause, until } from './browser.mjs';
import * as fixtures from './fixtures.mjs';
import { Connector, Fixture } from './stage.mjs';

const SHOTS = process.env.RINGPOST_PAGE_SHOTS ?? 'target/page';
const AXE = process.env.RINGPOST_AXE ? readFileSync(process.env.RINGPOST_AXE, 'utf8') : null;
const LIVE = "document.getElementById('beat-text')?.textContent === 'live'";
let browser;

before(async () => { mkdirSync(SHOTS, { recursive: true }); browser = await Browser.start(); });
after(() => browser?.stop());

// What holds for each page, whatever it shows.
async function sound(page, url, name) {
  assert.deepEqual(page.errors, [], 'nothing on the console');
  const elsewhere = page.requests.filter(request => !request.startsWith(url) && !request.startsWith('data:'));
  assert.deepEqual(elsewhere, [], 'no request to elsewhere');
  const [wide, outside] = await page.value(`(() => {
    const inside = element => element.closest('.scroll, .unseen, .skip, svg');
    const out = [...document.body.querySelectorAll('*')].filter(one => !inside(one) && one.getBoundingClientRect().right > ${page.width} + 1);
    return [document.documentElement.scrollWidth, out.map(one => one.outerHTML.slice(0, 120))];
  })()`);
  assert.deepEqual([wide, outside], [page.width, []], 'nothing is wider than the screen');
  const text = await page.value('document.body.innerText + document.title');
  assert.doesNotMatch(text, /NaN|undefined|null|\[object|Infinity/);
  if (AXE) {
    await page.value(`${AXE}; 0`);
    const faults = await page.value("axe.run(document).then(found => found.violations.map(one => one.id + ': ' + one.help + ' ' + one.nodes.map(node => node.html.slice(0, 160)).slice(0, 3).join(' | ')))");
    assert.deepEqual(faults, [], 'accessible');
  }
  await page.screenshot(`${SHOTS}/${name}.png`);
}

// A figure as it is shown, read back: within what its digits leave out.
function reads(text, exact, what) {
  const match = /^([\d\u202f.]+)\s?(KiB|MiB|GiB|k|M|G|T|%|ns|µs|ms|s|B)?/u.exec(text.replace(/(\d)\u202f(?=\d{3})/g, '$1'));
  assert.ok(match, `${what}: ${text}`);
  const scale = { k: 1e3, M: 1e6, G: 1e9, T: 1e12, '%': 0.01, ns: 1e-3, µs: 1, ms: 1e3, s: 1e6, KiB: 1024, MiB: 2 ** 20, GiB: 2 ** 30 }[match[2]] ?? 1;
  const shown = Number(match[1]) * scale;
  const slack = match[2] === '%' ? 0.005 + 1e-9 : Math.max(0.05 * scale * (match[2] ? 0.1 : 1), exact * 0.006, match[2] === 'ns' ? 0.0006 : 0);
  assert.ok(Math.abs(shown - exact) <= Math.max(slack, match[2] ? 0 : 0.5), `${what}: ${text} for ${exact}`);
}

// The figures of a status, held against the page.
async function shows(page, status) {
  const all = await page.value(`(() => {
    const text = (parent, selector) => parent.querySelector(selector)?.textContent;
    const figures = {};
    for (const one of document.querySelectorAll('[data-figure]')) figures[one.dataset.figure] = text(one, 'dd span');
    return {
      figures, records: text(document, '#records'), state: text(document, '#state'), cluster: text(document, '#cluster'),
      acked: Object.fromEntries([...document.querySelectorAll('[data-code]')].map(one => [one.dataset.code, one.children[4].firstChild.textContent])),
      stages: Object.fromEntries([...document.querySelectorAll('[data-stage]')].map(one => [one.dataset.stage, [...one.querySelectorAll('td.num')].map(cell => cell.textContent)])),
      executors: [...document.querySelectorAll('[data-executor]')].map(one => [one.querySelector('b').textContent, one.lastChild.firstChild.textContent]),
      destinations: [...document.querySelectorAll('[data-destination]')].map(one => ({
        name: text(one, 'h3 span'), taken: text(one, '.facts div dd'),
        urls: [...one.querySelectorAll('.url')].map(url => [text(url, '.mono'), text(url, '.state'), text(url, '.why'), text(url, '.facts dd')]),
      })),
      sources: [...document.querySelectorAll('#sources tr')].map(one => one.firstChild.textContent),
    };
  })()`);
  const { totals } = status;
  assert.equal(all.state, status.state);
  assert.equal(all.cluster, status.cluster_name ? `· ${status.cluster_name}` : '');
  reads(all.records, totals.records, 'records');
  for (const [code, exact] of Object.entries(totals.acked)) reads(all.acked[code], exact, `acks ${code}`);
  for (const key of ['in_flight', 'in_flight_bytes', 'skipped', 'stale', 'parse_errors', 'retries', 'duplicates', 'batches']) reads(all.figures[key], totals[key], key);
  for (const stage of status.stages) {
    const cells = all.stages[stage.name];
    ['p50_us', 'p99_us', 'p999_us', 'max_us'].forEach((key, place) => {
      if (stage.count) reads(cells[place], stage[key], `${stage.name} ${key}`); else assert.equal(cells[place], '–');
    });
  }
  assert.equal(all.executors.length, status.executors.length);
  status.executors.forEach((one, place) => {
    reads(all.executors[place][0], one.busy, `executor ${place}`);
    assert.equal(all.executors[place][1], `core ${one.core}`);
  });
  assert.equal(all.destinations.length, status.destinations.length);
  status.destinations.forEach((one, place) => {
    const shown = all.destinations[place];
    assert.equal(shown.name, one.name);
    reads(shown.taken, one.success, one.name);
    one.urls.forEach((url, number) => {
      const [address, state, why, connections] = shown.urls[number];
      assert.equal(address, url.url);
      assert.match(state, new RegExp(url.state === 'waiting' ? 'asked to wait' : `\\b${url.state}\\b`));
      if (url.last_error) assert.ok(why.endsWith(url.last_error.text), why); else assert.equal(why, '');
      assert.ok(connections.startsWith(`${url.connections.open} of ${url.connections.limit}`), connections);
    });
  });
  assert.deepEqual(all.sources, status.connections.map(one => one.peer));
}

// A page on a fixture.
async function on(answer, options, look) {
  const fixture = await Fixture.start(answer);
  const page = await browser.open(fixture.url, options);
  try {
    await page.until('an answer is shown', LIVE);
    await look(page, fixture);
  } finally {
    await page.close();
    await fixture.stop();
  }
}

for (const [name, make] of Object.entries({ status: fixtures.status, nothing: fixtures.nothing, large: fixtures.large, trouble: fixtures.trouble, long: fixtures.long })) {
  for (const [width, scheme] of [[1280, 'dark'], [360, 'light']]) {
    test(`${name} on ${width} pixels, ${scheme}`, () => on(() => make(), { width, scheme }, async (page, fixture) => {
      await shows(page, make());
      await sound(page, fixture.url, `${name}-${width}-${scheme}`);
    }));
  }
}

test('in the other colours', async () => {
  for (const [width, scheme] of [[1280, 'light'], [360, 'dark']]) {
    await on(() => fixtures.trouble(), { width, scheme }, (page, fixture) => sound(page, fixture.url, `trouble-${width}-${scheme}`));
  }
});

test('what needs a look is said first, once aloud, and never as markup', () => {
  let now = fixtures.status;
  return on(() => now(), {}, async page => {
    assert.match(await page.text('#notices'), /All is well: nothing needs a look/);
    now = fixtures.trouble;
    await page.until('the trouble is shown', "document.querySelector('[data-key=permanent]') !== null");
    const keys = await page.value("[...document.querySelectorAll('#notices li')].map(one => one.dataset.key)");
    assert.deepEqual(keys, ['permanent', 'rejecting', 'destination orders-0', 'still', 'certificate service.tls', 'draining', 'destination orders-1', 'in-flight', 'log'].slice(0, 7).concat(keys.slice(7)));
    const text = await page.text('#notices');
    for (const words of ['4.1\u202f% of the last minute’s records were answered 10', '1 executor answers 18', 'no URL is healthy', 'connection refused', 'expires in 5 days', 'It stops.', '<b>not bold</b>']) assert.ok(text.includes(words), `${words}: ${text}`);
    assert.equal(await page.value("document.querySelectorAll('#notices b b, .why b').length"), 0);
    const said = await page.text('#said');
    assert.ok(said.includes('no URL is healthy'), said);
    assert.match(await page.value('document.title'), /^✕ 5 · /);
    await page.value("window.changes = 0; new MutationObserver(() => changes++).observe(document.getElementById('said'), { childList: true, characterData: true, subtree: true }); 0");
    await pause(2_500);
    assert.equal(await page.value('changes'), 0, 'the same trouble is not said again');
    now = fixtures.status;
    await page.until('all is well', "document.getElementById('said').textContent === 'All is well again.'");
  });
});

test('names of others stay text', () => on(() => fixtures.long(), {}, async page => {
  assert.equal(await page.value("document.querySelectorAll('img').length"), 0);
  assert.equal(await page.text('[data-destination^="<img"] h3 span'), '<img src=x onerror=alert(1)>"\'&amp;');
}));

test('everything can be reached and used with the keyboard', () => on(() => fixtures.status(), { still: true }, async (page, fixture) => {
  const order = [];
  for (let step = 0; step < 17; step++) {
    await page.key('Tab');
    const [name, outline] = await page.value(`(() => {
      const one = document.activeElement, style = getComputedStyle(one);
      return [one.id || one.closest('tr')?.dataset.stage || one.className || one.textContent.trim(), style.outlineStyle + ' ' + style.outlineWidth];
    })()`);
    assert.equal(outline, 'solid 2px', `${name} shows that it has the focus`);
    order.push(name);
  }
  assert.deepEqual(order, ['skip', 'pause', 'chart-rate', 'receive-wait', 'decode', 'encode', 'queue-wait', 'response', 'ack-wait', 'total', 'chart-latency',
    'All figures of each executor', 'sources-scroll', 'Prometheus', 'metrics as JSON', 'configuration', 'these figures as JSON']);
  await page.value("document.querySelector('[data-stage=decode] button').focus(); 0");
  await page.key('Enter');
  assert.equal(await page.text('#stage-name'), 'decode');
  assert.equal(await page.value("document.querySelector('[data-stage=decode] button').getAttribute('aria-pressed')"), 'true');
  await page.value("document.getElementById('chart-latency').focus(); 0");
  for (let step = 0; step < 42; step++) await page.key('ArrowLeft');
  const [now, text, shown] = await page.value("[document.activeElement.getAttribute('aria-valuenow'), document.activeElement.getAttribute('aria-valuetext'), document.getElementById('key-latency').textContent]");
  assert.equal(now, '-42');
  const values = fixtures.status().history.stages.decode;
  assert.match(text, /^42\u202fs ago: p50 .*, p99 .*, p99\.9 /);
  reads(/p50 ([^,]*),/.exec(text)[1], values.p50_us.at(-43), 'the figure of 42 seconds ago');
  assert.ok(shown.includes(/p50 ([^,]*),/.exec(text)[1]), shown);
  // The focus and the choice survive the next answers.
  const asked = fixture.asked.length;
  await until('two more answers', () => fixture.asked.length > asked + 2);
  assert.equal(await page.value('document.activeElement.id'), 'chart-latency');
  await page.key('Escape');
  assert.equal(await page.value('document.activeElement.getAttribute("aria-valuenow")'), '0');
  assert.equal(await page.value("getComputedStyle(document.getElementById('main')).transitionDuration"), '0s', 'reduced motion');
}));

// These mostly wait, and so they wait side by side.
describe('as time goes by', { concurrency: true }, () => {
  test('a connector that does not answer is told from one that does, and history has no hole after it', () => {
    let second = 400, answer = () => fixtures.status({ second });
    return on(points => answer(points), {}, async (page, fixture) => {
      await until('more answers', () => fixture.asked.length >= 4);
      assert.ok(fixture.asked[0] === 300 && fixture.asked.slice(1).every(points => points > 0 && points < 20), `${fixture.asked}`);
      for (const [failing, words] of [[() => 500, 'It answers with status 500.'], [() => 401, 'It refuses to show its figures']]) {
        answer = failing;
        await page.until('the loss is shown', `document.getElementById('lost')?.textContent.includes(${JSON.stringify(words)})`);
        const text = await page.text('#lost');
        assert.match(text, /All below is as it was \d+\u202fs ago, at /);
        assert.equal(await page.value("document.documentElement.classList.contains('stale')"), true);
      assert.doesNotMatch(await page.value("document.getElementById('notices').innerText"), /All is well/);
        assert.match(await page.value('document.title'), /^✕ no answer/);
        if (words.includes('500')) await page.screenshot(`${SHOTS}/lost-1280-dark.png`);
        second += 30;
        answer = () => fixtures.status({ second });
        await page.until('it is back', `document.getElementById('lost') === null && ${LIVE}`);
      }
      const rates = await page.value('past.rate');
      const real = fixtures.status({ second }).history.records_per_s;
      assert.equal(rates.length, 300);
      rates.forEach((rate, place) => assert.ok(Math.abs(rate - real[place]) < real[place], `second ${place} is there`));
      // Another process with the same address: what the old one did is not its past.
      second = 20;
      answer = () => ({ ...fixtures.status({ second }), started_ms: fixtures.STARTED + 5_000 });
      await page.until('only the new one is shown', 'past.rate.filter(rate => rate !== null).length === 21');
      assert.equal(await page.text('#said'), 'The connector was started again.');
      page.errors.length = 0;
    });
  });

  test('a tab that nobody sees asks for nothing, and neither does a paused one', () => on(() => fixtures.status(), {}, async (page, fixture) => {
    const hide = hidden => page.value(`Object.defineProperty(document, 'hidden', { configurable: true, get: () => ${hidden} }); document.dispatchEvent(new Event('visibilitychange')); 0`);
    const pauses = async (stop, go) => {
      await stop();
      await pause(300);
      const before = fixture.asked.length;
      await pause(2_500);
      assert.equal(fixture.asked.length, before);
      await page.value("document.dispatchEvent(new Event('visibilitychange')); 0");
      await pause(300);
      assert.equal(fixture.asked.length, before, 'looking at it is no reason');
      await go();
      await until('it asks again', () => fixture.asked.length > before + 1);
    };
    await pauses(() => hide(true), () => hide(false));
    const press = () => page.value("document.getElementById('pause').click(); document.getElementById('beat-text').textContent");
    await pauses(press, press);
  }));

  test('a running connector: the page shows what its status says, and what happened', async () => {
    const connector = await Connector.start();
    try {
      connector.bench('sink', '--addr', `127.0.0.1:${connector.sink}`);
      await connector.run();
      const page = await browser.open(connector.url, { width: 1280, scheme: 'dark' });
      await page.until('an answer is shown', LIVE);
      const source = connector.bench('source', '--addr', `127.0.0.1:${connector.port}`, '--connections', '6', '--rate', '2000', '--seconds', '8', '--json');
      await page.until('load is shown', "past.rate.filter(rate => rate > 500).length >= 4");
      assert.equal(await page.value("document.querySelectorAll('#sources tr').length"), 6);
      await sound(page, connector.url, 'live-1280-dark');
      assert.equal(await source.ended, 0, source.said);
      const report = JSON.parse(source.out);
      assert.deepEqual([report.violations, report.records_resent], [0, 0]);
      const sent = report.records_sent;
      const settled = await until('all is published', async () => {
        const status = await connector.status(0);
        return status.totals.records === sent && status.totals.in_flight === 0 && status.totals.sources === 0 && status;
      });
      assert.equal(settled.totals.acked['0'], sent);
      assert.equal(settled.history, undefined);
      await page.until('the page has it', `status.totals.sources === 0 && status.totals.records === ${sent}`);
      // What the page was told last is what it shows.
      await shows(page, await page.value('status'));
      await page.value("document.getElementById('pause').click(); 0");
      // Each second that the connector remembers is on the page, from a browser that came later, too.
      const { history } = await connector.status(300);
      const [mine, upTo] = await page.value('[past.rate, end]');
      for (let back = 0; back < 8; back++) assert.equal(mine.at(-1 - back), history.records_per_s.at(-1 - back - (history.end - upTo)), `${back} seconds back`);
      const everything = JSON.stringify(await connector.status(300)) + (await page.value('document.documentElement.outerHTML'));
      assert.ok(!everything.includes('planted-secret'), 'no query of a URL is shown');
      await page.close();
    } finally {
      await connector.stop();
    }
  });

  test('a running connector: a dead destination, a dead process, another start', async () => {
    const connector = await Connector.start({ to: 'dead', destinations: '  dead:\n    urls: [ "http://127.0.0.1:9/never" ]\n    connect-timeout: 200' });
    try {
      await connector.run();
      const page = await browser.open(connector.url, { width: 360, scheme: 'dark' });
      await page.until('an answer is shown', LIVE);
      const source = connector.bench('source', '--addr', `127.0.0.1:${connector.port}`, '--connections', '2', '--rate', '50', '--seconds', '4', '--drain', '1', '--json');
      await page.until('the dead destination is shown', "document.querySelector('[data-key=\"destination dead\"]')?.textContent.includes('no URL is healthy')");
      const why = await page.text('[data-destination=dead] .why');
      assert.match(why, /^last, \d+\u202fs ago: .*(refused|connect)/);
      assert.match(await page.text('[data-destination=ledger] .state'), /healthy/);
      await page.until('records answered 11 are shown', 'status.totals.acked[11] > 20 && past.acked[11].some(rate => rate > 1)');
      await source.ended;
      await sound(page, connector.url, 'live-360-dark');
      connector.main.kill('SIGKILL');
      await page.until('the loss is shown', "document.getElementById('lost') !== null");
      await connector.main.ended;
      await connector.run();
      await page.until('the new process is shown', `document.getElementById('lost') === null && ${LIVE} && status.totals.records === 0`);
      assert.equal(await page.value("past.rate.some(rate => rate > 0)"), false, 'it begins anew');
      await page.close();
    } finally {
      await connector.stop();
    }
  });
});
