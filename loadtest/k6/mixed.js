// Everyday traffic: 90 % reads (half listings, half single audiences), 10 % saves; few users ask most.
import { check } from 'k6';
import { fill, idOf, list, number, options as made, read, save, saved, user, zipf } from './common.js';
export { handleSummary } from './common.js';

const users = number('USERS', 1000);

export const options = made(
  { mixed: { executor: 'constant-vus', vus: number('CLIENTS', 64), duration: __ENV.DURATION || '60s' } },
  {
    'http_req_failed{name:save}': ['rate==0'],
    'http_req_failed{name:list}': ['rate==0'],
    'http_req_failed{name:read}': ['rate==0'],
    checks: ['rate==1'],
  },
  {
    'http_req_duration{name:save}': ['p(99)<250'],
    'http_req_duration{name:list}': ['p(99)<250'],
    'http_req_duration{name:read}': ['p(99)<250'],
  },
);

// What this client saved last: every answer of a read must show it.
let mine;

export function setup() {
  fill(users, number('AUDIENCES', 10));
}

export default function () {
  const what = Math.random();
  if (what < 0.1 || !mine) {
    const owner = user(zipf(users));
    const id = saved(save(owner));
    if (id) mine = { owner, id };
  } else if (what < 0.55) {
    const response = list(user(zipf(users)), '&limit=50');
    check(response, { 'a listing is answered': (r) => r.status === 200 && r.body.includes('"success":true') });
  } else {
    const response = read(mine.owner, mine.id);
    check(response, { 'what was saved is read': (r) => r.status === 200 && idOf(r) === mine.id });
  }
}
