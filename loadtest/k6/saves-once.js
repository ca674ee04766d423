// 1,000 clients save at once, one audience each, each for another user.
import { acknowledge, number, options as made, save, saved, user } from './common.js';
export { handleSummary } from './common.js';

const clients = number('CLIENTS', 1000);

export const options = made(
  { saves: { executor: 'per-vu-iterations', vus: clients, iterations: 1, maxDuration: '60s' } },
  { http_req_failed: ['rate==0'], checks: ['rate==1'], 'http_reqs': [`count==${clients}`] },
  { http_req_duration: ['p(99)<1000'] },
);

export default function () {
  const owner = user(__VU - 1);
  const response = save(owner);
  if (saved(response)) acknowledge(owner, response);
}
