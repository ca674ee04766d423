// Three times the saves that the server can take, however long answers take (an open model). Run
// twice by loadtest/run: PHASE=capacity says how many it can take, PHASE=overload offers RATE a second,
// then goes back to a twentieth of the capacity and looks how soon all is well again. Lists are asked for all
// the while. STARVED=yes: the processor's time is what is short, of which refusing takes too, so that nobody is
// refused: all wait.
import http from 'k6/http';
import { check } from 'k6';
import exec from 'k6/execution';
import { Counter, Rate, Trend } from 'k6/metrics';
import { acknowledge, list, number, options as made, save, saved, user } from './common.js';
export { handleSummary } from './common.js';

const users = number('USERS', 1000);
const seconds = number('SECONDS', 20);
const after = number('AFTER', 10);
const rate = number('RATE', 1000);
const vus = number('CLIENTS', 1000);

const refused = new Trend('refusal_time', true);
const admitted = new Trend('admitted_time', true);
const readTime = new Trend('read_time', true);
const accepted = new Counter('saves_accepted');
const refusals = new Counter('saves_refused');
const polite = new Rate('refusals_with_retry_after');
const other = new Counter('neither_saved_nor_refused');
// Seconds after the overload at which a save was still refused or slow.
const troubled = new Trend('seconds_until_well');

const capacity = {
  saves: { executor: 'constant-vus', vus: number('CLOSED', 200), duration: `${seconds}s`, exec: 'closed' },
};
const overload = {
  overload: {
    executor: 'constant-arrival-rate', rate, timeUnit: '1s', duration: `${seconds}s`,
    preAllocatedVUs: vus, maxVUs: vus, gracefulStop: '30s', exec: 'open_',
  },
  recovery: {
    executor: 'constant-arrival-rate', rate: Math.max(5, Math.floor(rate / 60)), timeUnit: '1s', duration: `${after}s`,
    startTime: `${seconds}s`, preAllocatedVUs: 50, maxVUs: 200, exec: 'recovery',
  },
  reads: {
    executor: 'constant-arrival-rate', rate: 20, timeUnit: '1s', duration: `${seconds}s`,
    preAllocatedVUs: 20, maxVUs: 100, exec: 'reads',
  },
};

const starved = __ENV.STARVED === 'yes';
const always = Object.assign(
  { neither_saved_nor_refused: ['count==0'], saves_accepted: ['count>0'] },
  starved ? {} : { refusals_with_retry_after: ['rate==1'], saves_refused: ['count>0'] });
const timed = starved
  ? { admitted_time: ['p(99)<5000'], seconds_until_well: ['max<5'] }
  : { refusal_time: ['p(95)<250', 'p(99)<1000'], read_time: ['p(99)<250'], seconds_until_well: ['max<5'] };

export const options = __ENV.PHASE === 'capacity'
  ? made(capacity, { http_req_failed: ['rate==0'], checks: ['rate==1'] }, {})
  : made(overload, always, timed);

http.setResponseCallback(http.expectedStatuses(201, 503));

export function closed() {
  saved(save(user(Math.floor(Math.random() * users))));
}

function note(owner, response) {
  if (response.status === 201) {
    accepted.add(1);
    admitted.add(response.timings.duration);
    acknowledge(owner, response);
  } else if (response.status === 503) {
    refusals.add(1);
    refused.add(response.timings.duration);
    polite.add(Number(response.headers['Retry-After']) >= 1);
  } else {
    other.add(1);
    console.error(`! neither saved nor refused: status ${response.status}, ${response.error_code} ${String(response.error).replace(/:[0-9]+/g, '')}`);
  }
}

export function open_() {
  const owner = user(Math.floor(Math.random() * users));
  note(owner, save(owner));
}

export function reads() {
  const response = list(user(Math.floor(Math.random() * users)), '&limit=10');
  check(response, { 'a list is answered': (r) => r.status === 200 });
  readTime.add(response.timings.duration);
}

export function recovery() {
  const since = (Date.now() - exec.scenario.startTime) / 1000;
  const owner = user(Math.floor(Math.random() * users));
  const response = save(owner);
  note(owner, response);
  if (response.status !== 201 || response.timings.duration > 500) {
    troubled.add(since + response.timings.duration / 1000);
  } else {
    troubled.add(0);
  }
}
