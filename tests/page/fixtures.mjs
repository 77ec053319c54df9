// Answers of GET /manage/rest/v1/status as they may come: nothing yet, a large machine, a destination in trouble.

const STAGES = ['receive-wait', 'decode', 'encode', 'queue-wait', 'response', 'ack-wait', 'total'];
const TYPICAL = { 'receive-wait': 22, decode: 0.21, encode: 0.34, 'queue-wait': 4, response: 820, 'ack-wait': 35, total: 930 };
export const STARTED = 1_790_000_000_000;

// The same numbers each time.
function random(seed) {
  let state = seed;
  return () => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31;
}

function past(second, rate) {
  const seconds = Math.min(second + 1, 300), chance = random(7);
  const wave = number => 1 + 0.22 * Math.sin(number / 23) + 0.1 * Math.sin(number / 5);
  const each = of => Array.from({ length: seconds }, (_, place) => of(second - seconds + 1 + place, chance()));
  const stages = {};
  for (const name of STAGES) {
    const of = factor => each((number, luck) => (rate ? TYPICAL[name] * factor * wave(number) * (0.9 + luck * 0.3) : null));
    stages[name] = { p50_us: of(1), p99_us: of(3.1), p999_us: of(7.4) };
  }
  return {
    step_ms: 1000, end: second, end_ms: STARTED + second * 1000,
    records_per_s: each(number => rate * wave(number)),
    acked: { 0: each(number => rate * wave(number) * 0.97), 10: each(() => 0), 11: each((number, luck) => (luck > 0.9 ? rate * 0.01 * luck : 0)), 18: each(() => 0) },
    stages,
  };
}

// `second` since the start; `executors`, `destinations`, `connections`: how many; `rate`: records a second.
export function status({ second = 400, executors = 2, destinations = 1, connections = 6, rate = 12_000, urls = 2, name = place => `orders-${place}` } = {}) {
  const chance = random(11);
  const records = rate * second;
  return {
    version: '0.1.0', cluster_name: 'east-1', now_ms: STARTED + second * 1000, started_ms: STARTED, uptime_s: second, state: 'running',
    totals: {
      records, acked: { 0: Math.round(records * 0.97), 10: 0, 11: Math.round(records * 0.03), 18: 0 }, skipped: 0, stale: 0, parse_errors: 0,
      retries: rate ? 12 : 0, batches: 0, in_flight: rate ? 730 : 0, in_flight_limit: 32_768, in_flight_bytes: rate ? 9 << 20 : 0,
      in_flight_bytes_limit: 512 << 20, sources: connections, not_allowed: 0, duplicates: 0, duplicates_possible: 0, log_lines_dropped: 0, log_lines_refused: 0,
      permanent_share_1m: 0, executors_rejecting: 0, executors_draining: 0,
    },
    stages: STAGES.map(stage => {
      const typical = TYPICAL[stage];
      return rate ? { name: stage, count: rate * 10, p50_us: typical, p90_us: typical * 1.8, p99_us: typical * 3.1, p999_us: typical * 7.4, max_us: typical * 19 }
        : { name: stage, count: 0, p50_us: 0, p90_us: 0, p99_us: 0, p999_us: 0, max_us: 0 };
    }),
    lag_ms: rate ? 14 : null,
    executors: Array.from({ length: executors }, (_, index) => ({
      index, core: index * 2, busy: rate ? 0.2 + 0.75 * chance() : 0, records_per_s: rate / executors, records: records / executors,
      in_flight: rate ? 365 : 0, in_flight_bytes: rate ? 4 << 20 : 0, sources: Math.ceil(connections / executors), pauses: 0, heartbeat_age_ms: 120, stalls: 0,
      rejecting: false, draining: false,
    })),
    destinations: Array.from({ length: destinations }, (_, place) => ({
      name: name(place), protocol: place % 3 === 2 ? 'HTTP_1_1' : 'HTTP_2', success: Math.round(records * 0.97), error: 0, count: rate * 10, p50_us: 810, p99_us: 2_600,
      urls: Array.from({ length: urls }, (_, url) => ({
        url: `https://ingest-${url}.${place}.example.net:8443/v1/records`, state: 'healthy', unhealthy_executors: 0, connections: { open: 4, opening: 0, draining: 0, limit: 16 },
        in_flight: rate ? 180 : 0, queued: 0, success: Math.round(records * 0.48), error: 0, probes_passed: 40, probes_failed: 0, last_error: null,
      })),
    })),
    connections: Array.from({ length: Math.min(connections, 256) }, (_, place) => ({
      peer: `10.4.${place >> 3}.${10 + (place & 7)}:${40_000 + place}`, port: 8901, executor: place % executors, tls: place % 2 === 0,
      records: Math.round(records / connections), in_flight: 12, paused: false, opened_ms: STARTED + 2_000,
    })),
    connections_left_out: Math.max(0, connections - 256),
    certificates: [],
    history: past(second, rate),
  };
}

export const nothing = () => ({ ...status({ second: 0, rate: 0, connections: 0, executors: 2 }), cluster_name: null, history: { ...past(0, 0), records_per_s: [0] } });

export const large = () => status({ executors: 64, destinations: 20, connections: 640, rate: 2_400_000 });

// One destination has no healthy URL, one has one of two; 4 % of a minute are given up; an executor answers 18; it stops.
export function trouble() {
  const now = status({ executors: 4, destinations: 3, connections: 9 });
  const [first, second] = now.destinations;
  first.urls.forEach((url, place) => Object.assign(url, {
    state: place ? 'testing' : 'unhealthy', unhealthy_executors: 4, error: 4_812, connections: { open: 0, opening: 1, draining: 0, limit: 16 }, queued: 212,
    last_error: { at_ms: now.now_ms - 3_000 * (place + 1), text: 'cannot connect: connection refused' },
  }));
  Object.assign(second.urls[1], { state: 'waiting', unhealthy_executors: 1, last_error: { at_ms: now.now_ms - 95_000, text: 'status 503 <b>not bold</b>' } });
  Object.assign(now.totals, { permanent_share_1m: 0.041, executors_rejecting: 1, executors_draining: 4, in_flight: 31_000, log_lines_dropped: 88, log_lines_refused: 2 });
  now.totals.acked['10'] = 48_112;
  now.state = 'draining';
  Object.assign(now.executors[1], { rejecting: true, busy: 1 });
  Object.assign(now.executors[2], { heartbeat_age_ms: 2_400, stalls: 1, busy: 0.4 });
  now.certificates = [{ place: 'service.tls', days_left: 5 }, { place: 'destinations.orders-1', days_left: 211 }];
  now.history.acked['10'] = now.history.acked['10'].map((_, place, all) => (place > all.length - 70 ? 480 : 0));
  now.history.records_per_s.fill(null, 100, 118);
  return now;
}

// Names as long as they may be, without a place to break them, and as hostile.
export const long = () => status({
  executors: 3, destinations: 2, urls: 3, name: place => (place ? '<img src=x onerror=alert(1)>"\'&amp;' : 'a-destination-whose-name-somebody-has-made-very-long-indeed'.repeat(3)),
});
