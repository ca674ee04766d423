// One month of a year in which a store grows: every user saves some audiences dated that month, then
// listings over all months so far are asked for. loadtest/run runs it once for each month.
import { check } from 'k6';
import exec from 'k6/execution';
import { list, number, options as made, save, saved, user } from './common.js';
export { handleSummary } from './common.js';

const users = number('USERS', 10000);
const each = number('AUDIENCES', 3);
const month = String(number('MONTH', 1)).padStart(2, '0');
const clients = number('CLIENTS', 32);

export const options = made(
  {
    saves: { executor: 'shared-iterations', vus: clients, iterations: users * each, maxDuration: '3600s', exec: 'saves' },
    lists: { executor: 'constant-arrival-rate', rate: number('LISTS', 50), timeUnit: '1s', duration: __ENV.DURATION || '10s', preAllocatedVUs: 50, exec: 'lists' },
  },
  {
    'http_req_failed{name:save}': ['rate==0'],
    'http_req_failed{name:list}': ['rate==0'],
    'http_req_duration{name:save}': ['p(99)>=0'],
    'http_req_duration{name:list}': ['p(99)>=0'],
    'http_reqs{name:save}': [`count==${users * each}`],
    checks: ['rate==1'],
  },
  {},
);

export function saves() {
  const at = exec.scenario.iterationInTest;
  const day = String(1 + Math.floor(Math.random() * 28)).padStart(2, '0');
  saved(save(user(at % users), `"created_at":"2025-${month}-${day}T00:00:00Z",`));
}

export function lists() {
  const response = list(user(Math.floor(Math.random() * users)), '&limit=50');
  check(response, { 'a listing is answered': (r) => r.status === 200 });
}
