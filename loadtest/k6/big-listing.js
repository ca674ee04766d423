// A listing of 10,000 audiences of one user, over twelve months, paged through to its end: each
// audience exactly once, newest first, while another user's saves go on.
import http from 'k6/http';
import { check } from 'k6';
import { Counter, Trend } from 'k6/metrics';
import { base, body, list, number, options as made, save, saved, user } from './common.js';
export { handleSummary } from './common.js';

const audiences = number('AUDIENCES', 10000);
const page = number('PAGE', 100);
const walks = number('WALKS', 5);
const owner = user(0);

const whole = new Trend('whole_listing', true);
const walked = new Counter('listings_walked_to_the_end');
const missing = new Counter('audiences_missing');
const repeated = new Counter('audiences_repeated');
const disordered = new Counter('audiences_out_of_order');

export const options = made(
  {
    walks: { executor: 'shared-iterations', vus: 2, iterations: walks, maxDuration: '300s', exec: 'walk' },
    saves: { executor: 'constant-arrival-rate', rate: 50, timeUnit: '1s', duration: __ENV.DURATION || '20s', preAllocatedVUs: 20, exec: 'other' },
  },
  {
    'http_req_failed{name:list}': ['rate==0'],
    'http_req_failed{name:save}': ['rate==0'],
    checks: ['rate==1'],
    audiences_missing: ['count==0'],
    audiences_repeated: ['count==0'],
    audiences_out_of_order: ['count==0'],
    listings_walked_to_the_end: [`count==${walks}`],
  },
  { 'http_req_duration{name:list}': ['p(99)<250'], whole_listing: ['p(95)<10000'] },
);

function id(at) {
  return `big-${String(at).padStart(6, '0')}`;
}

export function setup() {
  let requests = [];
  for (let at = 0; at < audiences; at++) {
    const month = String(1 + (at % 12)).padStart(2, '0');
    const more = `"audience_id":"${id(at)}","created_at":"2025-${month}-15T00:00:00Z",`;
    const params = { headers: { 'Content-Type': 'application/json' }, tags: { name: 'fill' } };
    requests.push({ method: 'POST', url: `${base}/api/audiences`, body: body(owner, more), params });
    if (requests.length === 200 || at === audiences - 1) {
      for (const response of http.batch(requests)) {
        if (response.status !== 201) throw new Error(`a save in preparation: ${response.status} ${response.body}`);
      }
      requests = [];
    }
  }
}

export function walk() {
  const seen = new Set();
  const begun = Date.now();
  let cursor = '';
  let before = ['9999', ''];
  do {
    const response = list(owner, `&limit=${page}&fields=audience_id,created_at${cursor}`);
    if (!check(response, { 'a page is answered': (r) => r.status === 200 })) return;
    const answer = response.json();
    for (const audience of answer.audiences) {
      if (seen.has(audience.audience_id)) repeated.add(1);
      seen.add(audience.audience_id);
      const [at, last] = before;
      const sorted = audience.created_at < at || (audience.created_at === at && audience.audience_id > last);
      if (!sorted) disordered.add(1);
      before = [audience.created_at, audience.audience_id];
    }
    cursor = answer.next_cursor ? `&cursor=${encodeURIComponent(answer.next_cursor)}` : '';
  } while (cursor);
  whole.add(Date.now() - begun);
  walked.add(1);
  let found = 0;
  for (let at = 0; at < audiences; at++) if (seen.has(id(at))) found += 1;
  missing.add(audiences - found);
  check(seen, { 'nothing is listed that was not saved': (s) => s.size === found });
  missing.add(0);
  repeated.add(0);
  disordered.add(0);
}

export function other() {
  saved(save(user(1)));
}
