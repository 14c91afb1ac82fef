/** The built-in account with 100,000 users and 100,000 pages: lists, filters, one user; and 1,000 claims at once for 100 seats. */
import pg from 'pg';
import { openBuiltinAccount } from '../../src/account/builtin.ts';
import { list, openDatabase, openGate, run, transaction } from '../../src/store/database.ts';
import { startServers } from '../ground/servers.ts';
import { startUsher, type Usher } from '../ground/usher.ts';

const count = Number(process.env.BENCH_USERS ?? 100_000);
const rounds = Number(process.env.BENCH_ROUNDS ?? 300);

const policy = `
account: { kind: builtin, plan: paid, pools: { scheduled-meetings: ${count}, scarce: 100, line: 100 } }
delegation: ignored
`;

const seed = `
insert into people (person_id, lifecycle, wish, conditions, source, user_name, display_name, email, active, account_user_id)
select gen_random_uuid(), 'wanted', jsonb_build_object('rule', 'Everybody', 'displayName', n.name, 'email', n.email, 'role', 'Member', 'licenses', '[]'::jsonb, 'bookingPages', '[]'::jsonb),
  '{"Delegation": {"status": "true", "generation": 1}}', 'scim', n.email, n.name, n.email, true, n.id
from numbered n;
insert into account_users (account_user_id, person_id, name, email, email_key, role, signed_in_at)
select n.id, p.person_id, n.name, n.email, n.email, 'Member', case when n.i % 3 = 0 then now() end from numbered n join people p on p.account_user_id = n.id;
insert into account_licenses (account_user_id, kind) select id, 'scheduled-meetings' from numbered where i % 10 <> 0;
insert into account_pages (page_id, link_name, title, owner_id, enabled) select gen_random_uuid(), 'page-' || i, 'Meet ' || name, id, i % 10 <> 0 from numbered;
`;

export async function account(): Promise<void> {
  const servers = await startServers();
  process.env.TEST_EMBEDDED_URL = servers.embeddedUrl;
  process.env.TEST_SERVER_URL = servers.serverUrl;
  process.env.TEST_REDIS_URL = servers.redisUrl;
  const usher = await startUsher({ backend: 'server PostgreSQL', policy, workers: false });
  try {
    await fill(usher.databaseUrl);
    await lists(usher);
    await claims(usher);
    await claimsOfSteps(usher.databaseUrl);
  } finally {
    await usher.close();
    await servers.close();
  }
}

async function fill(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(`create temporary table numbered as select i, gen_random_uuid() as id,
    (array['Ana','Björn','Chidi','Elif','Grażyna','José','Layla','Maeve','Noam','Priya'])[1 + i % 10] || ' ' || md5(i::text) as name,
    'user' || i || '@contoso.com' as email from generate_series(1, ${count}) as i`);
  for (const statement of seed.split(';\n')) if (statement.trim()) await client.query(statement);
  await client.query('vacuum analyze');
  await client.end();
}

async function lists(usher: Usher): Promise<void> {
  const first = (await usher.api('GET', '/account/users?limit=500&sort=createdAt')).body.items;
  const some = () => first[Math.floor(Math.random() * first.length)].accountUserId as string;
  const cursors: string[] = [];
  for (let next = '', page = 0; page < 40; page++) {
    const answer = await usher.api('GET', `/account/users?limit=500${next && `&cursor=${next}`}`);
    next = answer.body.nextCursor ?? '';
    if (next) cursors.push(next);
  }
  const any = (of: number) => 1 + Math.floor(Math.random() * of);
  const asked: [string, () => string][] = [
    ['users, first page of 50', () => '/account/users?limit=50'],
    ['users, a page deep inside', () => `/account/users?limit=50&cursor=${cursors[any(cursors.length) - 1]}`],
    ['users, sorted by role', () => '/account/users?limit=50&sort=-role'],
    ['users, sorted by status', () => '/account/users?limit=50&sort=status'],
    ['users, filtered to one', () => `/account/users?limit=50&filter=user${any(count)}@`],
    ['users, filtered to a tenth', () => '/account/users?limit=50&filter=ana'],
    ['users, filtered by a letter', () => '/account/users?limit=50&filter=a'],
    ['users without a license', () => '/account/users?limit=50&license=none'],
    ['one user', () => `/account/users/${some()}`],
    ['pages of one user', () => `/account/booking-pages?owner=${some()}`],
    ['pages, first page of 50', () => '/account/booking-pages?limit=50'],
    ['pages, filtered to one', () => `/account/booking-pages?limit=50&filter=page-${any(count)}`],
    ['pages, by title', () => '/account/booking-pages?limit=50&sort=title&filter=elif'],
    ['licenses', () => '/account/licenses'],
  ];
  console.log(`${count} users, ${count} pages, one request after the other, ${rounds} each:`);
  for (const [what, path] of asked) {
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const started = performance.now();
      const answer = await usher.api('GET', path());
      times.push(performance.now() - started);
      if (answer.status !== 200) throw new Error(`${what}: ${JSON.stringify(answer.body)}`);
    }
    times.sort((a, b) => a - b);
    const at = (share: number) => (times[Math.floor(times.length * share)] ?? 0).toFixed(1);
    console.log(`  ${what.padEnd(32)} median ${at(0.5)} ms, p95 ${at(0.95)} ms`);
  }
}

/** By hand, over the API: everybody asks at once and stands in line. */
async function claims(usher: Usher): Promise<void> {
  const { items } = (await usher.api('GET', '/account/users?limit=500&sort=email')).body;
  const more = (await usher.api('GET', '/account/users?limit=500&sort=-email')).body.items;
  const started = performance.now();
  const answers = await Promise.all(
    [...items, ...more].map((user: { accountUserId: string }) =>
      usher.api('POST', `/account/users/${user.accountUserId}/licenses`, { kind: 'scarce', wait: true }),
    ),
  );
  const took = performance.now() - started;
  const assigned = answers.filter((answer) => answer.status === 201).length;
  for (const answer of answers.filter((one) => one.status >= 400).slice(0, 3))
    console.log(`  refused: ${answer.status} ${answer.body.detail}`);
  const line = (await usher.api('GET', '/account/licenses/scarce/waiting?limit=500')).body.items;
  console.log(
    `1,000 claims at once over the API for 100 seats: ${assigned} assigned, ${answers.filter((answer) => answer.status === 202).length} in line, ${(took / 1000).toFixed(2)} s`,
  );
  console.log(`  the line: places ${line[0]?.place} to ${line.at(-1)?.place} of the first ${line.length}`);
}

/** Of steps: the places are committed first, then all claim at once. */
async function claimsOfSteps(url: string): Promise<void> {
  const database = openDatabase(url, { max: 50, onError: () => undefined });
  const gate = openGate(10);
  const connection = {
    query: <R extends pg.QueryResultRow>(name: string, text: string, values: unknown[]) =>
      run<R>(database.pool, { name, text }, values),
    list: <R extends pg.QueryResultRow>(text: string, values: unknown[]) => list<R>(database.lists, text, values),
    transaction: <T>(work: Parameters<typeof transaction<T>>[1]) => gate(() => transaction(database.pool, work)),
  };
  const builtin = openBuiltinAccount(connection, { plan: 'paid', heir: null });
  const { rows } = await database.pool.query<{ person_id: string; account_user_id: string }>(
    `update people set wish = jsonb_set(wish, '{licenses}', '["line"]') where person_id in (select person_id from people where account_fence = 0 order by random() limit 1000) returning person_id, account_user_id`,
  );
  const people = rows.map((row, index) => ({ ...row, since: new Date(Date.UTC(2026, 0, 1) + index * 1000) }));
  await database.pool.query(
    `insert into account_waiting (kind, person_id, since, rule) select 'line', w."personId", w.since, 'Everybody' from jsonb_to_recordset($1::jsonb) as w ("personId" uuid, since timestamptz)`,
    [JSON.stringify(people.map((person) => ({ personId: person.person_id, since: person.since })))],
  );
  const shuffled = [...people].sort(() => Math.random() - 0.5);
  const started = performance.now();
  for (let left = shuffled; left.length > 0; ) {
    // Whoever is told to wait comes back when a seat is free or the person ahead has one, as the steps do.
    const answers = await Promise.all(
      left.map((person) =>
        builtin.claimSeat(
          {
            accountUserId: person.account_user_id,
            kind: 'line',
            personId: person.person_id,
            rule: 'Everybody',
            since: person.since,
            cap: null,
          },
          { personId: person.person_id, lane: 'account', number: '0' },
        ),
      ),
    );
    const assignedNow = answers.filter((answer) => answer.assigned).length;
    if (assignedNow === 0) break;
    left = left.filter((_person, index) => !answers[index]?.assigned);
    if (left.length <= people.length - 100) break;
  }
  const took = performance.now() - started;
  const { rows: winners } = await database.pool.query<{ person_id: string }>(
    `select person_id from account_licenses join people using (account_user_id) where kind = 'line'`,
  );
  const first = new Set(people.slice(0, 100).map((person) => person.person_id));
  console.log(
    `1,000 claims of steps at once for 100 seats: ${winners.length} assigned, ${winners.filter((winner) => first.has(winner.person_id)).length} of them the first 100 of the line, ${(took / 1000).toFixed(2)} s`,
  );
  await database.close();
}
