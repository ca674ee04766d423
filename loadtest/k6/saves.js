// 1,000 clients save again and again for a minute, over 1,000 users.
import { number, options as made, save, saved, user } from './common.js';
export { handleSummary } from './common.js';

const clients = number('CLIENTS', 1000);

export const options = made(
  { saves: { executor: 'constant-vus', vus: clients, duration: __ENV.DURATION || '60s' } },
  { http_req_failed: ['rate==0'], checks: ['rate==1'] },
  { http_req_duration: ['p(99)<1000'] },
);

export default function () {
  saved(save(user((__VU + __ITER) % clients)));
}
