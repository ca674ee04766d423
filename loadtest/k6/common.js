// What the scenarios share: requests, users, thresholds, the summary's file.
//
// From loadtest/run, as environment variables: BASE (the server), SUMMARY (file for the figures),
// SIZE… of the scenario, and TIMED=no where thresholds on time are left out (smoke tests).
import http from 'k6/http';
import { check } from 'k6';

export const base = __ENV.BASE;

// Without its user, so that a body costs a concatenation: k6 must not be slower than it has to.
const rest = (() => {
  const body = JSON.parse(open('../payloads/save_audience.json'));
  delete body.user_id;
  return JSON.stringify(body).slice(1);
})();

const json = { 'Content-Type': 'application/json' };

export function number(name, otherwise) {
  return __ENV[name] === undefined ? otherwise : Number(__ENV[name]);
}

// Options that every scenario has; `always` are thresholds, `timed` those that a smoke test leaves out.
export function options(scenarios, always, timed) {
  return {
    scenarios,
    thresholds: Object.assign({}, always, __ENV.TIMED === 'no' ? {} : timed),
    summaryTrendStats: ['min', 'avg', 'med', 'p(90)', 'p(95)', 'p(99)', 'p(99.9)', 'max', 'count'],
    systemTags: ['status', 'name', 'scenario', 'error_code'],
    noConnectionReuse: false,
    setupTimeout: '300s',
    teardownTimeout: '60s',
  };
}

export function user(index) {
  return `load_${String(index).padStart(6, '0')}`;
}

// Zipf with exponent 1 over `count` users: the chance of the n-th is proportional to 1/n.
export function zipf(count) {
  return Math.min(count, Math.floor(Math.pow(count + 1, Math.random()))) - 1;
}

// `more` is further fields as JSON text, each with a comma behind it.
export function body(owner, more) {
  return `{"user_id":"${owner}",${more || ''}${rest}`;
}

export function save(owner, more, parameters) {
  const tags = Object.assign({ name: 'save' }, parameters && parameters.tags);
  return http.post(`${base}/api/audiences`, body(owner, more), Object.assign({}, parameters, { headers: json, tags }));
}

export function list(owner, more) {
  return http.get(`${base}/api/audiences?user_id=${owner}${more || ''}`, { tags: { name: 'list' } });
}

export function read(owner, id) {
  return http.get(`${base}/api/audiences/${id}?user_id=${owner}`, { tags: { name: 'read' } });
}

// The id in the answer to a save, without parsing all of it.
export function idOf(response) {
  const found = /"audience_id":"([^"]+)"/.exec(response.body || '');
  return found ? found[1] : undefined;
}

export function saved(response) {
  check(response, { 'a save is answered with 201 and an id': (r) => r.status === 201 && idOf(r) !== undefined });
  return response.status === 201 ? idOf(response) : undefined;
}

// Says an acknowledged save, a line of loadtest/run's file: it looks for each of them afterwards.
export function acknowledge(owner, response) {
  console.log(`${owner} ${idOf(response)}`);
}

// Saves `count` audiences for each of `users` users, many at once; fails where one is refused.
export function fill(users, count, more) {
  const requests = [];
  const send = () => {
    for (const response of http.batch(requests.splice(0))) {
      if (response.status !== 201) throw new Error(`a save in preparation: ${response.status} ${response.body}`);
    }
  };
  for (let index = 0; index < users; index++) {
    for (let at = 0; at < count; at++) {
      const text = body(user(index), more ? more(index, at) : '');
      requests.push({ method: 'POST', url: `${base}/api/audiences`, body: text, params: { headers: json, tags: { name: 'fill' } } });
      if (requests.length === 200) send();
    }
  }
  send();
}

export function handleSummary(data) {
  return { [__ENV.SUMMARY]: JSON.stringify(data) };
}
