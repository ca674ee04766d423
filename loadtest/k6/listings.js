// 10,000 first pages of 50 audiences, by 64 clients, over users who have 50 each.
import { check } from 'k6';
import { fill, list, number, options as made, user } from './common.js';
export { handleSummary } from './common.js';

const users = number('USERS', 100);
const listings = number('LISTINGS', 10000);
const page = 50;

export const options = made(
  { listings: { executor: 'shared-iterations', vus: number('CLIENTS', 64), iterations: listings, maxDuration: '300s' } },
  { 'http_req_failed{name:list}': ['rate==0'], checks: ['rate==1'], 'http_reqs{name:list}': [`count==${listings}`] },
  { 'http_req_duration{name:list}': ['p(95)<100', 'p(99)<250'] },
);

export function setup() {
  fill(users, page);
}

export default function () {
  const response = list(user(Math.floor(Math.random() * users)), `&limit=${page}`);
  check(response, { 'a listing has 50 audiences': (r) => r.status === 200 && r.body.includes(`"count":${page}`) });
}
