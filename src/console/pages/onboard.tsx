/** A table of people: dropped, read as a plan, mended, applied, watched, stopped, gone on with. */
import { Button, MessageBar, MessageBarBody, Select } from '@fluentui/react-components';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type DragEvent, useRef, useState } from 'react';
import { Link, useLocation } from 'wouter';
import { peopleColumns } from '../../domain/people-columns.ts';
import {
  get,
  type Import,
  type ImportPace,
  type ImportRow,
  type Items,
  type ListedImport,
  Problem,
  post,
  query,
  upload,
} from '../api.ts';
import { useMay } from '../parts/session.ts';
import { Asked, Empty, Fault, Page, Told, Whole } from '../parts/shown.tsx';
import { Table } from '../parts/table.tsx';
import { useWords } from '../words/index.tsx';

export function Onboard({ importId }: { importId: string | null }) {
  return importId ? <One importId={importId} /> : <All />;
}

/** Whoever went on to another page meanwhile is not taken away from it. */
function useUpload() {
  const [, go] = useLocation();
  const client = useQueryClient();
  const [share, setShare] = useState(0);
  const stopping = useRef(new AbortController());
  const sending = useMutation({
    mutationFn: ({ name, bytes }: { name: string; bytes: Blob }) => {
      stopping.current = new AbortController();
      setShare(0);
      return upload<Import>(`/imports${query({ name })}`, bytes, setShare, stopping.current.signal);
    },
    onSettled: () => client.invalidateQueries({ queryKey: ['imports'] }),
  });
  const send = (name: string, bytes: Blob): void =>
    sending.mutate({ name, bytes }, { onSuccess: ({ importId }) => go(`/onboard/${importId}`) });
  const { error } = sending;
  return {
    send,
    isPending: sending.isPending,
    share,
    stop: () => stopping.current.abort(),
    // Whoever stopped it knows that it was.
    error: error instanceof Problem ? error : null,
  };
}

/** How much of a file is there; then, that it is being read. */
function Uploading({ of }: { of: ReturnType<typeof useUpload> }) {
  const { t, percent } = useWords();
  if (!of.isPending) return null;
  return (
    <div role="status" className="tools">
      <span>{of.share < 1 ? t('onboard.sending', { share: percent(of.share) }) : t('onboard.reading')}</span>
      <Button size="small" onClick={of.stop}>
        {t('cancel')}
      </Button>
    </div>
  );
}

function All() {
  const { t, time, named, number } = useWords();
  const uploading = useUpload();
  const mayWrite = useMay('operator', 'exchange_admin');
  const [over, setOver] = useState(false);
  const imports = useQuery({ queryKey: ['imports'], queryFn: () => get<Items<ListedImport>>('/imports') });
  const [file, setFile] = useState<File | null>(null);
  const take = (chosen: File | undefined): void => {
    if (!chosen) return;
    setFile(chosen);
    uploading.send(chosen.name, chosen);
  };
  const drop = (event: DragEvent): void => {
    event.preventDefault();
    setOver(false);
    take(event.dataTransfer.files[0]);
  };
  return (
    <Page title={t('onboard')} lead={t('onboard.lead')}>
      {mayWrite ? (
        // biome-ignore lint/a11y/noStaticElementInteractions: dropping is one more way; the field inside is the one for everybody
        <div
          className={`drop below ${over ? 'over' : ''}`}
          onDragOver={(event) => {
            event.preventDefault();
            setOver(true);
          }}
          onDragLeave={() => setOver(false)}
          onDrop={drop}
        >
          <label>
            <p>{t('onboard.drop')}</p>
            <input
              type="file"
              accept=".csv,.txt,.tsv,text/csv"
              onChange={(event) => {
                take(event.target.files?.[0]);
                // The same file, mended, can be chosen again.
                event.target.value = '';
              }}
            />
          </label>
          <p className="muted">{t('onboard.columns')}</p>
          <Uploading of={uploading} />
        </div>
      ) : null}
      {uploading.error ? <Fault error={uploading.error} /> : null}
      {file && uploading.error?.message.includes('no column') ? (
        <Mapping
          key={`${file.name} ${file.size} ${file.lastModified}`}
          file={file}
          send={(bytes) => uploading.send(file.name, bytes)}
        />
      ) : null}
      <h2>{t('onboard.before')}</h2>
      <Asked of={imports}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty>{t('onboard.none')}</Empty>
          ) : (
            <Table heads={[t('onboard.file'), t('state'), t('onboard.rows'), t('onboard.made')]}>
              {items.map((item) => (
                <tr key={item.importId}>
                  <td>
                    <Link href={`/onboard/${item.importId}`}>{item.name}</Link>
                  </td>
                  <td>{named('state', item.state)}</td>
                  <td>{item.summary ? number(item.summary.rows) : '–'}</td>
                  <td className="tight">{time(item.createdAt)}</td>
                </tr>
              ))}
            </Table>
          )
        }
      </Asked>
    </Page>
  );
}

/** A table whose headings nobody understands: whoever brought it says what each column is, and the first line is written anew. */
function Mapping({ file, send }: { file: File; send(bytes: Blob): void }) {
  const { t } = useWords();
  const [chosen, setChosen] = useState<Record<number, string>>({});
  const head = useQuery({
    queryKey: ['head', file.name, file.size, file.lastModified],
    queryFn: () => readHead(file),
    staleTime: Number.POSITIVE_INFINITY,
  });
  if (!head.data) return null;
  const { headings, delimiter, length } = head.data;
  const picked = Object.values(chosen).filter(Boolean);
  const twice = picked.find((name, index) => picked.indexOf(name) < index);
  const rewritten = (): Blob => {
    const names = headings.map((heading, index) => chosen[index] || heading);
    const line = names.map((name) => `"${name.replaceAll('"', '""')}"`).join(delimiter);
    return new Blob([line, file.slice(length)]);
  };
  return (
    <section className="card below" aria-labelledby="mapping">
      <h2 id="mapping">{t('onboard.mapping')}</h2>
      <div className="tools">
        {headings.map((heading, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: columns have places, and may have one name twice
          <label className="field" key={index}>
            {heading || '–'}
            <Select
              value={chosen[index] ?? ''}
              onChange={(_event, data) => setChosen({ ...chosen, [index]: data.value })}
            >
              <option value="">{t('onboard.asItIs')}</option>
              {Object.keys(peopleColumns).map((name) => (
                <option key={name}>{name}</option>
              ))}
            </Select>
          </label>
        ))}
      </div>
      {twice ? <p role="alert">{t('onboard.twice', { name: twice })}</p> : null}
      <Button appearance="primary" disabled={picked.length === 0 || Boolean(twice)} onClick={() => send(rewritten())}>
        {t('onboard.readAgain')}
      </Button>
    </section>
  );
}

/** The first line, and how many bytes it has. Null: it is no text that could be written anew here. */
async function readHead(file: File): Promise<{ headings: string[]; delimiter: string; length: number } | null> {
  const bytes = new Uint8Array(await file.slice(0, 65_536).arrayBuffer());
  const isWide = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff);
  const end = bytes.findIndex((byte) => byte === 0x0a || byte === 0x0d);
  if (isWide) return null;
  const line = new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
  const delimiter = [',', ';', '\t'].sort((a, b) => line.split(b).length - line.split(a).length)[0] ?? ',';
  return { headings: cellsOf(line, delimiter), delimiter, length: end < 0 ? bytes.length : end };
}

function One({ importId }: { importId: string }) {
  const mayWrite = useMay('operator', 'exchange_admin');
  const { t, named } = useWords();
  const client = useQueryClient();
  const one = useQuery({
    queryKey: ['import', importId],
    queryFn: () => get<Import>(`/imports/${importId}`),
    // The stream tells of it; should that be away, it is asked for.
    refetchInterval: ({ state }) => (state.data?.state === 'applying' ? 5000 : false),
  });
  const move = useMutation({
    mutationFn: (act: 'apply' | 'stop' | 'resume') => post(`/imports/${importId}/${act}`),
    onSettled: () => client.invalidateQueries(),
  });
  return (
    <Whole of={one} title={t('onboard')}>
      {(shown) => (
        <Page title={shown.name} lead={named('state', shown.state)}>
          <div className="tools">
            {mayWrite && shown.state === 'planned' ? (
              <Button appearance="primary" disabledFocusable={move.isPending} onClick={() => move.mutate('apply')}>
                {t('onboard.apply')}
              </Button>
            ) : null}
            {mayWrite && shown.state === 'applying' ? (
              <Button disabledFocusable={move.isPending} onClick={() => move.mutate('stop')}>
                {t('onboard.stop')}
              </Button>
            ) : null}
            {mayWrite && shown.state === 'stopped' ? (
              <Button appearance="primary" disabledFocusable={move.isPending} onClick={() => move.mutate('resume')}>
                {t('onboard.resume')}
              </Button>
            ) : null}
            {(shown.summary?.kinds.faulty ?? 0) +
              (shown.summary?.kinds.ambiguous ?? 0) +
              shown.progress.rows.plan_stale +
              shown.progress.rows.failed >
            0 ? (
              <Button as="a" href={`/api/v1/imports/${importId}/errors`} download={`wrong-${shown.name}`}>
                {t('onboard.errors')}
              </Button>
            ) : null}
            <Link href="/onboard">{t('onboard.another')}</Link>
          </div>
          {move.isError ? <Fault error={move.error} /> : null}
          {shown.failure ? (
            <MessageBar intent="error">
              <MessageBarBody>
                <Told>{shown.failure}</Told>
              </MessageBarBody>
            </MessageBar>
          ) : null}
          {shown.state === 'planned' ? null : <Progress of={shown} />}
          {shown.summary ? <Plan of={shown} /> : null}
          {mayWrite ? <Wrong of={shown} /> : null}
        </Page>
      )}
    </Whole>
  );
}

/** How far it is, how fast, and of the people how many hold each condition. */
function Progress({ of }: { of: Import }) {
  const { t, number, named } = useWords();
  const { rows, people, ready, conditions } = of.progress;
  const total = Object.values(rows).reduce((sum, count) => sum + count, 0);
  const done = total - rows.waiting;
  const bar = (share: number, label: string) => (
    <div
      className="progress"
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(share * 100)}
    >
      <div style={{ width: `${share * 100}%` }} />
    </div>
  );
  return (
    <section className="card below" aria-labelledby="progress">
      <h2 id="progress">{t('onboard.progress')}</h2>
      <p>{t('onboard.rowsDone', { done, total })}</p>
      {bar(total === 0 ? 0 : done / total, t('onboard.rows'))}
      <p>{t('onboard.readyOf', { ready, people })}</p>
      {bar(people === 0 ? 0 : ready / people, t('ready'))}
      <p className="muted">
        {Object.entries(conditions)
          .map(([type, count]) => `${named('condition', type)} ${number(count)}`)
          .join(' · ')}
      </p>
      <Pace importId={of.importId} isRunning={of.state === 'applying'} />
      {rows.plan_stale + rows.failed > 0 ? (
        <p>{t('onboard.notDone', { stale: rows.plan_stale, failed: rows.failed })}</p>
      ) : null}
      {people > 0 && ready < people ? (
        <Link href="/users?ready=false&lifecycle=wanted">{t('onboard.others')}</Link>
      ) : null}
    </section>
  );
}

/** How fast people became Ready, as a picture; its label says it in words. */
function Pace({ importId, isRunning }: { importId: string; isRunning: boolean }) {
  const { t, time } = useWords();
  const pace = useQuery({
    queryKey: ['import', importId, 'pace'],
    queryFn: () => get<ImportPace>(`/imports/${importId}/pace`),
    refetchInterval: isRunning ? 5000 : false,
  });
  const { seconds = 1, since = null, ready = [] } = pace.data ?? {};
  if (since === null) return null;
  const most = Math.max(...ready);
  const perMinute = (count: number): number => Math.round((count * 60) / seconds);
  const label = t('onboard.pace', {
    most: perMinute(most),
    now: perMinute(ready.at(-1) ?? 0),
    since: time(since),
  });
  return (
    <figure className="pace">
      <svg viewBox="0 0 600 60" width="100%" height="60" preserveAspectRatio="none" role="img" aria-label={label}>
        {ready.map((count, index) => (
          <rect
            // biome-ignore lint/suspicious/noArrayIndexKey: a stretch is its place
            key={index}
            x={index * 10 + 1}
            y={60 - (count / most) * 58}
            width={8}
            height={(count / most) * 58}
            fill="var(--colorBrandBackground)"
          />
        ))}
      </svg>
      <figcaption className="muted">{label}</figcaption>
    </figure>
  );
}

function Plan({ of }: { of: Import }) {
  const { t, named, number } = useWords();
  const summary = of.summary;
  if (!summary) return null;
  return (
    <div className="cards">
      <section className="card" aria-labelledby="plan">
        <h2 id="plan">{t('onboard.plan', { rows: summary.rows })}</h2>
        <ul className="plain">
          {Object.entries(summary.kinds)
            .filter(([, count]) => count > 0)
            .map(([kind, count]) => (
              <li key={kind} className="between">
                <span>{named('kind', kind)}</span>
                <strong>{number(count)}</strong>
              </li>
            ))}
        </ul>
        {summary.outOfScope > 0 ? (
          <p className="muted">{t('onboard.outOfScope', { count: summary.outOfScope })}</p>
        ) : null}
        {summary.cellsNotUsed ? <p className="muted">{t('onboard.notUsed', { count: summary.cellsNotUsed })}</p> : null}
      </section>
      <section className="card" aria-labelledby="needs">
        <h2 id="needs">{t('onboard.needs')}</h2>
        <dl className="data">
          {Object.entries(summary.seats).map(([kind, { needed, left, missing }]) => (
            <div key={kind} style={{ display: 'contents' }}>
              <dt>{kind}</dt>
              <dd>
                {t('onboard.seats', { needed, left: left === null ? '∞' : number(left) })}
                {missing > 0 ? ` ${t('onboard.seatsMissing', { count: missing })}` : ''}
              </dd>
            </div>
          ))}
          <dt>{t('onboard.calendars')}</dt>
          <dd>{t('onboard.calendarsText', summary.calendars)}</dd>
          <dt>{t('pages')}</dt>
          <dd>
            {t('onboard.pagesText', {
              wished: summary.pages.wished,
              missing: summary.pages.missing,
              others: summary.pages.ownedByOthers,
            })}
          </dd>
          <dt>{t('onboard.time')}</dt>
          <dd>{t('onboard.seconds', { count: summary.secondsExpected })}</dd>
        </dl>
      </section>
    </div>
  );
}

/** More than anybody mends by hand; all of them are in the CSV. */
const mostWrong = 2000;

/** The rows that were not taken, corrected in place and sent again as a table of their own. */
function Wrong({ of }: { of: Import }) {
  const { t } = useWords();
  const uploading = useUpload();
  const [mended, setMended] = useState<Record<number, Record<string, string>>>({});
  const rows = useQuery({
    queryKey: ['import', of.importId, 'wrong', of.state],
    queryFn: async () => {
      const kinds = ['kind=faulty', 'kind=ambiguous', 'state=plan_stale', 'state=failed'];
      const rows: ImportRow[] = [];
      for (const kind of kinds)
        for (let after = 0; rows.length < mostWrong; ) {
          const { items } = await get<Items<ImportRow>>(
            `/imports/${of.importId}/rows?${kind}&limit=500&after=${after}`,
          );
          rows.push(...items);
          if (items.length < 500) break;
          after = items.at(-1)?.line ?? 0;
        }
      return rows.sort((a, b) => a.line - b.line);
    },
  });
  if (!rows.data || rows.data.length === 0) return null;
  // Only what somebody changed goes again; the others would merely be wrong once more.
  const touched = rows.data.filter((row) => mended[row.line]);
  const cell = (row: ImportRow, column: string): string => mended[row.line]?.[column] ?? row.cells[column] ?? '';
  const names = [...new Set(rows.data.flatMap((row) => Object.keys(row.cells)))];
  const send = (): void => {
    const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;
    const text = [
      names.map((name) => name.replace(/^\?+/, '')),
      ...touched.map((row) => names.map((name) => cell(row, name))),
    ]
      .map((line) => line.map(quoted).join(','))
      .join('\r\n');
    uploading.send(`mended-${of.name}`, new Blob([text]));
  };
  return (
    <section className="below" aria-labelledby="wrong">
      <h2 id="wrong">{t('onboard.wrong', { count: rows.data.length })}</h2>
      <p className="muted">{t('onboard.wrongText')}</p>
      <Table heads={[t('onboard.line'), t('onboard.what'), ...names.map((name) => name.replace(/^\?+/, ''))]}>
        {rows.data.map((row) => (
          <tr key={row.line}>
            <td>{row.line}</td>
            <td className="what">
              <Told>{row.result ?? row.note}</Told>
              {row.suggestion ? (
                <>
                  <br />
                  <Button
                    size="small"
                    onClick={() =>
                      setMended({
                        ...mended,
                        [row.line]: { ...mended[row.line], ...suggested(row.suggestion ?? '') },
                      })
                    }
                  >
                    {t('onboard.take', { what: row.suggestion })}
                  </Button>
                </>
              ) : null}
            </td>
            {names.map((name) => (
              <td key={name}>
                <input
                  aria-label={`${t('onboard.line')} ${row.line}, ${name}`}
                  value={cell(row, name)}
                  onChange={(event) =>
                    setMended({ ...mended, [row.line]: { ...mended[row.line], [name]: event.target.value } })
                  }
                />
              </td>
            ))}
          </tr>
        ))}
      </Table>
      <div className="tools">
        <Button onClick={send} disabledFocusable={uploading.isPending || touched.length === 0}>
          {t('onboard.sendMended', { count: touched.length })}
        </Button>
      </div>
      <Uploading of={uploading} />
      {uploading.error ? <Fault error={uploading.error} /> : null}
    </section>
  );
}

/** The cells of a line, in quotes or without (RFC 4180). */
function cellsOf(line: string, delimiter: string): string[] {
  const cell = new RegExp(`\\s*(?:"((?:[^"]|"")*)"|([^${delimiter}]*))\\s*(?:${delimiter}|$)`, 'gy');
  const cells: string[] = [];
  for (let match = cell.exec(line); match; match = cell.exec(line)) {
    cells.push((match[1]?.replaceAll('""', '"') ?? match[2] ?? '').trim());
    if (cell.lastIndex >= line.length) break;
  }
  return cells;
}

/** «email: ana@contoso.com; active: true» */
const suggested = (text: string): Record<string, string> =>
  Object.fromEntries(
    text.split('; ').map((part) => {
      const at = part.indexOf(': ');
      return [part.slice(0, at), part.slice(at + 2)];
    }),
  );
