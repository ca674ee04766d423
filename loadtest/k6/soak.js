// Steady mixed traffic for long, at a rate well below what the server can: does anything grow that
// should not?
import { check } from 'k6';
import { fill, idOf, list, number, options as made, read, save, saved, user, zipf } from './common.js';
export { handleSummary } from './common.js';

const users = number('USERS', 1000);

export const options = made(
  {
    soak: {
      executor: 'constant-arrival-rate',
      rate: number('RATE', 300),
      timeUnit: '1s',
      duration: __ENV.DURATION || '10m',
      preAllocatedVUs: 100,
      maxVUs: 1000,
    },
  },
  {
    'http_req_failed{name:save}': ['rate==0'],
    'http_req_failed{name:list}': ['rate==0'],
    'http_req_failed{name:read}': ['rate==0'],
    checks: ['rate==1'],
  },
  {
    dropped_iterations: ['count==0'],
    'http_req_duration{name:save}': ['p(99)<100'],
    'http_req_duration{name:list}': ['p(99)<100'],
    'http_req_duration{name:read}': ['p(99)<100'],
  },
);

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
    check(list(user(zipf(users)), '&limit=50'), { 'a listing is answered': (r) => r.status === 200 });
  } else {
    check(read(mine.owner, mine.id), { 'what was saved is read': (r) => r.status === 200 && idOf(r) === mine.id });
  }
}
